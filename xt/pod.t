# Every module has valid POD with a name, a synopsis or description, and an entry for each public sub.

use strict;
use warnings;

use lib 't/lib';
use Testing::Developer qw(needs_module);
use Test::More;
use Testing::Tree qw(distribution_files);

needs_module($_) for qw(Test::Pod Test::Pod::Coverage);

# Hooks of perl, and those that Plack::Component documents.
my %HOOKS = (also_private => [qr/\A(?:CLONE|CLONE_SKIP|call|prepare_app)\z/]);

sub has_section {
    my ($file, $section) = @_;
    open my $from, '<', $file or die "$file: $!\n";
    return scalar grep { /^=head1 \Q$section\E$/ } <$from>;
}

for my $file (grep { m{^perl/.*\.pm$} } distribution_files()) {
    my $module = $file =~ s{^perl/|\.pm$}{}gr =~ s{/}{::}gr;
    subtest $module => sub {
        Test::Pod::pod_file_ok($file);
        ok has_section($file, 'NAME'), 'the POD has a NAME';
        ok has_section($file, 'SYNOPSIS') || has_section($file, 'DESCRIPTION'),
            'the POD has a SYNOPSIS or a DESCRIPTION';
        Test::Pod::Coverage::pod_coverage_ok($module, \%HOOKS);
    };
}

done_testing;
