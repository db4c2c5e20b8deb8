# Every module has documentation, its POD is right, and every public sub stands in it.

use strict;
use warnings;

use lib 't/lib';
use Testing::Developer qw(needs_module);
use Test::More;
use Testing::SourceTree qw(distribution_files);

needs_module($_) for qw(Test::Pod Test::Pod::Coverage Dancer2 Mojolicious);

# What Dancer2::Plugin defines in the package of every plugin.
sub subs_of_plugins {
    eval 'package EmptyPlugin; use Dancer2::Plugin; 1' or die $@;    ## no critic (ProhibitStringyEval)
    return grep { EmptyPlugin->can($_) } keys %EmptyPlugin::;
}

my %ALSO_PRIVATE = ('EventSource::Framework::Dancer2' => [map { qr/\A\Q$_\E\z/ } subs_of_plugins()]);

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

for my $file (grep { m{^perl/.*\.pod$} } distribution_files()) {
    subtest $file => sub {
        Test::Pod::pod_file_ok($file);
        ok has_section($file, $_), "has the section $_" for qw(NAME DESCRIPTION);
    };
}

# Programs have their manuals in them.
Test::Pod::pod_file_ok($_) for grep { m{^bin/} } distribution_files();

for my $file (grep { m{^perl/.*\.pm$} } distribution_files()) {
    my $module = $file =~ s{^perl/|\.pm$}{}gr =~ s{/}{::}gr;
    subtest $module => sub {
        Test::Pod::pod_file_ok($file);
        ok has_section($file, 'NAME'),                                          'has a name';
        ok has_section($file, 'SYNOPSIS') || has_section($file, 'DESCRIPTION'), 'and a synopsis, or a description';
        my @private = (@{$HOOKS{also_private}}, @{$ALSO_PRIVATE{$module} || []});
        Test::Pod::Coverage::pod_coverage_ok($module, {%HOOKS, also_private => \@private});
    };
}

done_testing;
