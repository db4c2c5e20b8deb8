# Every module has documentation, its POD is right, and every public sub stands in it.

use strict;
use warnings;

use lib 't/lib';
use Testing::Developer qw(needs_module);
use Test::More;
use Testing::SourceTree qw(distribution_files);

needs_module($_) for qw(Test::Pod Test::Pod::Coverage);

# Perl's own hooks, and those of Plack::Component, which documents them.
my %HOOKS = (
    coverage_class => 'Pod::Coverage::CountParents',
    also_private   => [qr/\A(?:CLONE|CLONE_SKIP|call|prepare_app)\z/]
);

sub has_section {
    my ($file, $section) = @_;
    open my $from, '<', $file or die "$file: $!\n";
    return scalar grep { /^=head1 \Q$section\E$/ } <$from>;
}

for my $file (grep { m{^perl/.*\.pm$} } distribution_files()) {
    my $module = $file =~ s{^perl/|\.pm$}{}gr =~ s{/}{::}gr;
    subtest $module => sub {
        Test::Pod::pod_file_ok($file);
        ok has_section($file, 'NAME'),                                          'has a name';
        ok has_section($file, 'SYNOPSIS') || has_section($file, 'DESCRIPTION'), 'and a synopsis, or a description';
        Test::Pod::Coverage::pod_coverage_ok($module, \%HOOKS);
    };
}

done_testing;
