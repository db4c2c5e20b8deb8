package EventSource::XS::Client::Pause;
use strict;
use warnings;

# The pause before an event source connects again, in seconds.
#
# The pauses differ from the standard (WHATWG HTML, section 9.2.3): none is shorter than a quarter of a second, whatever the
# stream sets, and they grow while attempts bring no event, so that no server is asked all the time. Each is up to a quarter
# longer, at random, because other clients were cut at the same moment.

use HTTP::Date qw(str2time);
use List::Util qw(max min);

my ($SHORTEST, $LONGEST) = (0.25, 30);    # of a pause, and to which attempts without an event lead
my $MAX_PAUSE = 86_400;                   # whatever the server asks for
my $JITTER    = 0.25;

# Public methods

# The pause after so many attempts without an event, by the reconnection time of the stream in milliseconds.
sub after_attempts {
    my ($class, $attempts, $retry) = @_;
    my $least = max($SHORTEST, $retry / 1000);
    my $pause = max($least,    min($LONGEST, $least * 2**min($attempts, 10)));
    return min($pause, $MAX_PAUSE) * (1 + rand $JITTER);
}

# The pause that a server asks for with the value of Retry-After (RFC 9110, section 10.2.3); 0 if it does not.
sub of_retry_after {
    my ($class, $value) = @_;
    return 0                   if !defined $value;
    return min($1, $MAX_PAUSE) if $value =~ /\A\s*([0-9]{1,15})\s*\z/;
    local ($@, $SIG{__DIE__});
    my $at = $value =~ /GMT\s*\z/ ? str2time($value) : undef;
    return max(0, min(($at // 0) - time, $MAX_PAUSE));
}

1;
