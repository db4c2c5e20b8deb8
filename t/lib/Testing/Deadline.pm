package Testing::Deadline;
use strict;
use warnings;

# Waits for a condition until a deadline. Tests use it instead of a sleep of a guessed length.
#
#   ok wait_until(sub { -e $file }), 'the file is there';                  # what should happen at once
#   ok wait_until($DEADLINE, sub { $server->ask('/') }), 'it answers';     # what a process has to be started for
#   eventually_ok $DEADLINE, 'it answers' => sub { ... };                  # the same, for a condition of several lines
#
# What should happen at once has less time than a keepalive takes by default (15 s), so that it is not a keepalive that has
# noticed it.

use parent 'Exporter';
use List::Util  qw(min);
use Time::HiRes qw(sleep time);

our $DEADLINE  = 30;                                       ## no critic (ProhibitPackageVars)
our @EXPORT_OK = qw($DEADLINE eventually_ok wait_until);

my $AT_ONCE = 14;                                          # seconds

# The pauses between two looks, in seconds: a look may be a request to a server, so they grow.
my ($FIRST_PAUSE, $GROWTH, $LONGEST_PAUSE) = (0.01, 1.2, 0.05);

sub eventually_ok {
    my ($condition, $name, @seconds) = reverse @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return Test::More::ok(wait_until(@seconds, $condition), $name);
}

# Returns true if the condition has become true within that many seconds.
sub wait_until {
    my ($condition, $seconds) = reverse @_;
    my $deadline = time + ($seconds // $AT_ONCE);
    my $pause    = $FIRST_PAUSE;
    while (!$condition->()) {
        return !!0 if time > $deadline;
        sleep $pause;
        $pause = min($pause * $GROWTH, $LONGEST_PAUSE);
    }
    return !!1;
}

1;
