package Developer;
use strict;
use warnings;

# Tests that need more than the module's own dependencies, or minutes, run where the module is developed: in a checkout,
# or anywhere with EVENTSOURCE_XS_FULL=1. Whoever installs from CPAN is spared them.
#
# What such a test needs may be missing on a developer's machine; it is then skipped with the reason. With
# EVENTSOURCE_XS_FULL everything has to be there.
#
#     use Developer qw(only_developers needs_command needs_module);
#     only_developers;
#     needs_command('cpanm');

use Exporter   qw(import);
use Test::More ();

our @EXPORT_OK = qw(needs needs_command needs_module only_developers);

# needs($found, 'no Chromium'): ends the test file if it was not found.
sub needs {
    my ($found, $trouble) = @_;
    return $found                                 if $found;
    return Test::More::plan(skip_all => $trouble) if !is_full();
    Test::More::fail($trouble);
    Test::More::done_testing();
    exit 1;
}

sub needs_command {
    my $command = shift;
    return needs((grep { -x } map { "$_/$command" } split /:/, $ENV{PATH}), "there is no $command here");
}

sub needs_module {
    my $module = shift;
    return needs(scalar(eval "require $module; 1"), "there is no $module here");    ## no critic (StringyEval)
}

sub only_developers {
    return if is_full() || -e '.git';
    return Test::More::plan(skip_all => 'for developers; runs with EVENTSOURCE_XS_FULL=1');
}

# Private functions

sub is_full { return $ENV{EVENTSOURCE_XS_FULL} }

1;
