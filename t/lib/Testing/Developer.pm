package Testing::Developer;
use strict;
use warnings;

# What a test needs beyond the distribution and its prerequisites. A machine may lack a program or a module; then the test is
# skipped with the reason. With EVENTSOURCE_XS_FULL it fails instead.
#
#     use Testing::Developer qw(needs_command needs_module);
#     needs_command('cpanm');
#
# NO_NETWORK_TESTING and AUTOMATED_TESTING, which testers of CPAN set, count: the network is missing then, or every tool may be
# (Testing).

use Exporter   qw(import);
use Test::More ();

our @EXPORT_OK = qw(has_command has_module needs needs_command needs_module network_missing);

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

# Why a test may ask no registry for anything; undef if it may.
sub network_missing { return $ENV{NO_NETWORK_TESTING} ? 'NO_NETWORK_TESTING is set' : undef }

sub needs_module {
    my $module = shift;
    return needs(has_module($module) ? undef : "there is no $module here");
}

1;
