package Testing::Deadline;
use strict;
use warnings;

# Waits for a condition until a deadline. Tests use it instead of a sleep of a guessed length.
#
#   ok wait_until(10, sub { -e $file }), 'the file is there';

use Exporter    qw(import);
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(wait_until);

my $LOOK_EVERY = 0.01;    # seconds

# Returns true if the condition has become true within that many seconds.
sub wait_until {
    my ($seconds, $condition) = @_;
    my $deadline = time + $seconds;
    while (!$condition->()) {
        return !!0 if time > $deadline;
        sleep $LOOK_EVERY;
    }
    return !!1;
}

1;
