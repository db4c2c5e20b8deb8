package Testing::Developer;
use strict;
use warnings;

# Tests that need more than the module's own dependencies, or minutes, run where the module is developed: in a checkout,
# or anywhere with EVENTSOURCE_XS_FULL=1. They do not run when the module is installed from CPAN.
#
# A developer's machine may lack a program or a module that such a test needs. The test is then skipped with the reason. With
# EVENTSOURCE_XS_FULL it fails instead.
#
#     use Testing::Developer qw(only_developers needs_command needs_module);
#     only_developers;
#     needs_command('cpanm');

use Exporter   qw(import);
use Test::More ();

our @EXPORT_OK = qw(has_command has_module needs needs_command needs_module only_developers);

sub has_command {
    my $command = shift;
    return scalar grep { -x "$_/$command" } split /:/, $ENV{PATH};
}

sub has_module {
    my $module = shift;
    return scalar eval "require $module; 1";    ## no critic (StringyEval)
}

# Ends the test file, or the subtest, if there is something in the way; green, or red where everything has to be there.
sub needs {
    my $trouble = shift;
    return                                        if !defined $trouble;
    return Test::More::plan(skip_all => $trouble) if !$ENV{EVENTSOURCE_XS_FULL};
    Test::More::fail($trouble);
    Test::More::done_testing();
    exit 1;
}

sub needs_command {
    my $command = shift;
    return needs(has_command($command) ? undef : "there is no $command here");
}

sub needs_module {
    my $module = shift;
    return needs(has_module($module) ? undef : "there is no $module here");
}

# Ends the test file, or the subtest. In a file the tests before it run everywhere.
sub only_developers {
    return if $ENV{EVENTSOURCE_XS_FULL} || -e '.git';
    if (Test::More->builder->current_test && !Test::More->builder->parent) {
        Test::More::done_testing();
        exit 0;
    }
    return Test::More::plan(skip_all => 'for developers; runs with EVENTSOURCE_XS_FULL=1');
}

1;
