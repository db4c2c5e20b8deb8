package EventSource::XS::Doctor::Check::Compression;
use strict;
use warnings;

# Looks whether something compresses the stream, and whether the compressor withholds it: beside a second client, which has
# asked for no compression. A compressor that flushes each event does no harm.

use EventSource::XS::Doctor::Check::Delivery;
use EventSource::XS::Doctor::Finding qw(ok rounded warning wrong);
use List::Util                       qw(max);

my $AT_ONCE = 1;      # seconds; what takes longer was withheld
my $MOMENT  = 0.1;    # seconds after which the rest of a block is late

my $REMEDY = 'Do not compress text/event-stream here, neither in the proxy nor in middleware of the application.';

# Public methods

sub findings {
    my ($class, $seen) = @_;
    return if !$seen->is_streaming;
    my ($asked, $unasked) = map { $_ ? _encoding($_) : undef } @$seen{qw(stream second)};
    my @late  = defined $asked ? _late($seen) : ();
    my $delay = @late ? rounded(max(@late)) : defined $asked ? _probe_delay($seen) : undef;
    my @lines = (proxies  => ['compression']);
    my @hides = (explains => ['buffering', EventSource::XS::Doctor::Check::Delivery->affected]);
    $seen->measure(compression => asked => $asked, unasked => $unasked, delay => $delay);
    return wrong("The response is compressed ($unasked) for a client that has asked for no compression.",
        $REMEDY, @lines)
        if defined $unasked;
    return ok('The response is not compressed.') if !defined $asked;
    my $compressed = "The response is compressed ($asked), and";
    return wrong("$compressed the compressor withholds what a client without compression receives.",
        $REMEDY, @lines, @late ? @hides : ())
        if defined $delay && $delay >= $AT_ONCE;
    return wrong("$compressed no text has come, though a poll was answered: the compressor withholds it.",
        $REMEDY, @lines, @hides)
        if ($seen->{behind} || '') eq 'all';
    return ok("$compressed nothing is withheld.") if defined $delay;
    return warning("$compressed nothing came that shows whether the compressor withholds bytes.",
        "Give the doctor --trigger or --hub and --channel, so that it can cause an event. $REMEDY", @lines);
}

# Private functions

# The seconds that each block came later than to the second client, or nothing if there is nothing to compare. What did not
# come at all is late since the second client has it. The server writes whole blocks, so a part of one is late, too.
sub _late {
    my $seen = shift;
    my ($stream, $second) = @$seen{qw(stream second)};
    return if !$second;
    my ($mine, $others) = map { _times($_) } $stream, $second;
    my $ends    = $stream->ends_at;
    my @late    = map { max(0, ($mine->{$_} // $stream->{began} + $ends) - $others->{$_}) } keys %$others;
    my $is_torn = $stream->body->is_in_block && !$second->body->is_in_block && $ends - $stream->{last_at} > $MOMENT;
    return (@late, @late && $is_torn ? $AT_ONCE : ());
}

# The seconds that the probe took: it tells without a second client, but not whether the compressor is the cause.
sub _probe_delay {
    my $seen   = shift;
    my $stream = $seen->{stream};
    return $seen->{is_probed} ? $seen->{probe_seconds} // max($AT_ONCE, $stream->ends_at - $stream->{head_at}) : undef;
}

sub _encoding {
    my $encoding = $_[0]->has_head ? $_[0]->header('Content-Encoding') : undef;
    return defined $encoding && lc $encoding ne 'identity' ? $encoding : undef;
}

# When each event has come first, and the first sign of life: a comment, or a block without data. The streams have not begun
# together, so they may have different positions.
sub _times {
    my $connection = shift;
    my %at;
    for my $event ($connection->body->events) {
        my $key = join "\0", map { $event->{$_} // '' } qw(id event data);
        $at{$key} //= $connection->{began} + $event->{at};
    }
    my ($sign) = $connection->body->keepalives;
    $at{':'} = $connection->{began} + $sign if defined $sign;
    return \%at;
}

1;
