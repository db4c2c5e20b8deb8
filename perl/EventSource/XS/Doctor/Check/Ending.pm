package EventSource::XS::Doctor::Check::Ending;
use strict;
use warnings;

# Looks whether the stream stays open, and what keeps it open: keepalives, cuts, ends.

use EventSource::XS::Doctor::Finding qw(named ok rounded warning wrong);
use List::Util                       qw(max);

my $LONG       = 30;       # seconds of silence that some proxies do not allow
my $SHOULD     = 60;       # seconds; the usual timeout of a proxy
my $SHORT      = 0.2;      # seconds that count as silence
my $LATE       = 1.125;    # times its keepalive after which a stream is overdue, and a second
my $LONG_WATCH = 15;       # seconds without a keepalive that are worth a warning

my $KEEP_OPEN =
    'Keep the stream open: "THE CLIENT RECONNECTS AGAIN AND AGAIN" in EventSource::Troubleshooting lists the causes.';

# Usual timeouts of what stands between, in seconds.
my @USUAL = (
    [30,  'HAProxy in many examples (timeout server), and some load balancers'],
    [50,  'HAProxy in the examples of its manual (timeout client, timeout server)'],
    [55,  'the router of Heroku'],
    [60,  'nginx (proxy_read_timeout), Apache (ProxyTimeout) and the load balancers of AWS'],
    [100, 'Cloudflare'],
);

# Usual limits of the time that a response may take, in seconds.
my @LIMITS = (
    [15,  'Envoy (timeout of the route)'],
    [30,  'the load balancers of Google Cloud (timeout of the backend service)'],
    [60,  'function platforms'],
    [300, 'Cloud Run'],
    [600, 'Varnish (send_timeout)'],
);

# Public methods

sub findings {
    my ($class, $seen) = @_;
    return if !$seen->is_streaming || !defined $seen->{stream}{head_at};
    my $stream = $seen->{stream};
    return (
        named(silence   => _overdue($seen, $stream)),
        named(keepalive => _keepalive($seen, $stream)),
        named(end       => _end($seen, $stream))
    );
}

# True if keepalives came at their times, and then no more, on a connection that is open.
sub is_dropped {
    my ($class, $seen) = @_;
    my $stream = $seen->{stream};
    my $body   = $stream->body;
    return !!0 if !defined _silence_of_overdue($stream) || $body->is_in_block || $body->bursts;
    return !!(@{$stream->{pieces}} && $stream->{pieces}[-1][0] - $stream->{body_at} > 0.5 * $body->{promised});
}

# Private functions

sub _end {
    my ($seen, $stream) = @_;
    my $end  = $stream->{end};
    my $open = sprintf '%.1f s', $stream->{left_at} || 0;
    return warning(
        "The stream has sent so much within $open that the doctor has read no further.",
        'Send fewer events, or read the stream with --seconds 1: the doctor reads at most 16 MiB or 100,000 lines of a stream.'
    ) if $stream->is_excessive;
    return ok("The stream was open for $open, until the doctor left.")
        if !defined $end || !defined $stream->{ended_at};
    my $age   = $stream->{ended_at} - $stream->{head_at};
    my $after = sprintf 'after %.1f s', $age;
    my ($idle, @before) = reverse $stream->silences;
    $seen->measure($_ => seconds => rounded($age), silent => rounded($idle), end => $end) for qw(end timeout);
    return wrong(
        "The stream ended $after, because the hub process has ended meanwhile.",
        "Look into its log (eventsource hub log $seen->{hub}), and into that of the system."
    ) if $seen->has_lost_hub;
    my $longest    = max(0, @before);
    my $is_limited = _is_limited($seen, $idle, $longest);
    my $is_silent  = !$is_limited && $idle >= $SHORT && $idle > 0.9 * $longest;
    my $needed     = max($SHOULD, 4 * int(1 + $longest));
    return _ended($seen, $after, $is_limited, $is_silent && $idle, $needed) if $end eq 'complete';
    return _limited($after, $age)                                           if $is_limited;
    return _timed_out($idle, $needed)                                       if $is_silent;
    return warning(
        "The connection was closed $after, and the response has no framing that tells whether it was complete.",
        $KEEP_OPEN)
        if $end eq 'closed';
    return wrong(
        "The stream was cut $after, in the middle of the response: the worker was ended, or a proxy limits its time.",
        'Check whether the application ends its workers (a limit of requests), or a proxy or a platform limits responses.'
    );
}

sub _ended {
    my ($seen, $after, $is_limited, $silence, $needed) = @_;
    my $sentence = "The response ended as a whole $after";
    return ok("$sentence.") if $seen->{method} ne 'GET';
    my $who =
        $is_limited
        ? ', as one that had begun later: the application (max_age) or a proxy limits how long a response may take.'
        : $silence ? sprintf
        ', %.1f s of them in silence at the end: the application has ended it, or a proxy with such a timeout.',
        $silence
        : ': the application has ended it.';

    # Caddy ends a response at its read_timeout as if it were whole.
    my $raise = ' Or raise the timeout of the proxy (Caddy: read_timeout), beyond the keepalive.';
    return warning(
        "$sentence$who A browser connects again, and again.",
        $KEEP_OPEN . ($silence ? $raise : ''),
        $silence ? (proxies => [timeout => $needed]) : ()
    );
}

sub _keepalive {
    my ($seen, $stream) = @_;
    my $body    = $stream->body;
    my $began   = defined $stream->{body_at} ? $stream->{body_at} : 0;
    my @times   = grep { $_ - $began >= $SHORT } $body->keepalives;       # not a preamble
    my $watched = $stream->ends_at - $stream->{head_at};
    my $silence = max(0, $stream->silences);
    my $ends    = defined $stream->{ended_at} ? ' before its end' : '';

    my $remedy = 'Send a comment (a line with a colon) after 15 quiet seconds: set keepalive to 15.';
    my ($all, $longest, $most) =
        (sprintf('%.0f s', $watched), sprintf('%.0f s', $silence), sprintf('%.1f s', $silence));

    $seen->measure(keepalive => keepalives => scalar @times, longest_silence => rounded($silence));
    return warning(
        "Nothing came for $longest$ends. A proxy with a shorter timeout cuts the stream; usual ones are 30 to 60 s.",
        "$remedy Watch longer with --seconds to see a slower one.")
        if $silence >= $LONG_WATCH && $silence > 0.9 * $watched;
    return warning("The longest silence was $longest, which some proxies do not allow.", $remedy)
        if $silence > $LONG;
    return ok(
        @times
        ? "The longest silence in $all was $most; keepalives: " . @times . '.'
        : "No keepalive came in $all, with a longest silence of $most; watch longer with --seconds to see one."
    );
}

# True if two streams have ended at the same age, though one had begun later, and not for their silence: a stream that was
# silent for as long before, or for its keepalive, was not cut then. One that ends with its head has no age.
sub _is_limited {
    my ($seen, $idle, $longest) = @_;
    my ($stream, $second) = @$seen{qw(stream second)};
    my $promised = $stream->body->{promised};
    return !!0 if $idle >= $SHORT && $longest < 0.9 * ($promised // $idle);
    return !!0 if grep { !$_ || !defined $_->{ended_at} || !$_->has_head } $stream, $second;
    return !!0 if $stream->{ended_at} - $stream->{head_at} < $SHORT;
    my $ages = abs($second->{ended_at} - $stream->{ended_at});
    my $ends = abs($second->{began} + $second->{ended_at} - $stream->{began} - $stream->{ended_at});
    return $ages < 0.5 * $ends;
}

sub _limited {
    my ($after, $age) = @_;
    my ($usual) = grep { abs($age - $_->[0]) < 1.5 } @LIMITS;
    my $named   = $usual ? " That is the usual limit of $usual->[1]." : '';
    my $most    = sprintf '%.1f', 0.9 * $age;
    return wrong(
        "The stream was cut $after, as one that had begun later: something limits how long a response may take.$named",
        "Raise that limit, or end streams before: max_age => $most of EventSource::Hub. eventsource-hub.js renews its own."
    );
}

# A stream that says when it sends something, and does not.
sub _overdue {
    my ($seen, $stream) = @_;
    my $silence = _silence_of_overdue($stream) // return;
    my $each    = $stream->body->{promised};
    my $after   = sprintf '%.1f s', $silence;
    my $polled  = $seen->has_polled ? ' A new request was answered.' : '';
    $seen->measure(silence => seconds => rounded($silence), keepalive => $each);
    return wrong(
        "The stream sends something each $each s, as it says, and nothing came for $after on a connection that is open.$polled"
            . ' Something on the way has dropped the connection without closing it, or holds bytes back.',
        'A firewall, a NAT or a proxy forgets quiet connections: set a keepalive that is shorter than its time, or raise'
            . ' that. An EventSource of a browser notices nothing; eventsource-hub.js connects anew after twice the keepalive.',
        explains => [qw(keepalive resume)]
    );
}

# Returns how long a stream has been silent that is open and should have sent something; undef if it should not.
sub _silence_of_overdue {
    my $stream   = shift;
    my $promised = $stream->body->{promised} or return undef;
    return undef if defined $stream->{ended_at} || !defined $stream->{left_at} || $stream->is_excessive;
    my $silence = ($stream->silences)[-1];
    return $silence > $LATE * $promised + 1 ? $silence : undef;
}

sub _timed_out {
    my ($idle, $needed) = @_;
    my $silence = sprintf '%.1f s', $idle;
    my ($usual) = grep { abs($idle - $_->[0]) < 1.5 } @USUAL;
    my $named   = $usual ? " That is the usual timeout of $usual->[1]." : '';
    return wrong(
        "The stream was cut after $silence of silence: a proxy has a timeout that is shorter than the silences of the stream."
            . $named,
        "Raise the timeout of the proxy to $needed s, beyond the keepalive, or set a keepalive that is shorter than $silence.",
        check    => 'timeout',
        proxies  => [timeout => $needed],
        explains => ['keepalive']
    );
}

1;
