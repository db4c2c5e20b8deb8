package Testing::Deadline;
use strict;
use warnings;

# Waits for a condition, and no longer than a deadline; what tests do instead of a sleep and a hope.
#
#   ok wait_until(10, sub { -e $file }), 'the file is there';

use Exporter    qw(import);
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(wait_until);

my $LOOK_EVERY = 0.01;    # seconds

# Whether the condition came true within so many seconds.
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
