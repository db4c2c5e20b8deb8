package EventSource::XS::Doctor::Check::Delivery;
use strict;
use warnings;

# Looks whether bytes arrive when they are sent, or something between withholds them. A stream that withholds events looks like
# a quiet one, so only the probe is sure.

use EventSource::XS::Doctor::Check::Ending;
use EventSource::XS::Doctor::Finding qw(named ok rounded warning wrong);
use List::Util                       qw(max min);

my $AT_ONCE = 1;       # seconds; what takes longer was withheld
my $LARGE   = 4096;    # bytes that come at once from what has collected them
my $BESIDE  = 3;       # seconds after the first; a second client that is answered later has waited for it

my $UNBUFFERED =
    'Turn the buffering of responses off in the proxy, and in the application middleware that collects a body.';
my $WORKERS =
    'Raise the number of workers, or make the streams native: see "NOT NATIVE" in EventSource::Troubleshooting.';
my @LINES = (proxies => ['buffering']);

# The findings that are wrong while bytes are withheld.
my @AFFECTED = qw(end keepalive resume silence timeout unfinished);
my @EXPLAINS = (@LINES, explains => ['head', @AFFECTED]);

# Public methods

sub affected { return @AFFECTED }

sub findings {
    my ($class, $seen) = @_;
    my $stream = $seen->{stream} or return;
    return named(buffering => _no_head($seen, $stream)) if $seen->is_silent || $seen->{beside};
    return wrong(
        sprintf('The connection was closed after %.1f s without an answer.', $stream->{ended_at} || 0),
        'Read the logs of the proxy and the application: the worker may have died, or the port may speak TLS.',
        check => 'head'
    ) if !$stream->has_head && !$stream->failure;
    return if !$seen->is_streaming;
    return (
        named(head          => _head($seen, $stream)),
        named(buffering     => _buffering($seen, $stream)),
        named(second_client => _second($seen))
    );
}

# Private functions

# Five judgements, the surest first: a poll, which ends, so nothing holds it back; the probe; keepalives, which the server sends
# at intervals, in one piece; a silence in the middle of an event, which servers send as a whole; nothing.
sub _buffering {
    my ($seen, $stream) = @_;
    my $body   = $stream->body;
    my @bursts = $body->bursts;
    my $burst  = max(0, @bursts);
    return                if EventSource::XS::Doctor::Check::Ending->is_dropped($seen);
    return _behind($seen) if $seen->{behind} && (!$seen->{is_probed} || defined $seen->{probe_seconds});
    return _probed($seen) if $seen->{is_probed};
    return warning("The probe could not be sent: $seen->{probe}{failure}.",
        'Run the command of --trigger by itself, or check --hub, --channel and --socket.')
        if $seen->{probe}{failure};
    $seen->measure(buffering => burst => $burst);
    return wrong(
        "$burst keepalives arrived at once, though a server sends them one by one: something on the way collects bytes.",
        $UNBUFFERED, @EXPLAINS
    ) if $burst > 2 || @bursts > 1;    # one of two may be a delay of this machine

    # The silence before the end, unless the response has ended as a whole: then the application has written no more.
    my $silence = $body->is_in_block && ($stream->{end} || '') ne 'complete' ? ($stream->silences)[-1] : 0;
    $seen->measure(buffering => seconds => rounded($silence));
    my $nothing = sprintf 'Nothing came for %.1f s', $silence;
    return wrong("$nothing in the middle of an event: something on the way withholds the rest.", $UNBUFFERED, @EXPLAINS)
        if $silence >= $AT_ONCE;

    if (!defined $stream->{body_at}) {
        return if defined $stream->{end};    # the check of the end explains it
        my $head = sprintf 'The head came after %.2f s', $stream->{head_at};
        return warning(
            "$head, but no byte of the body within $seen->{seconds} s: the stream is quiet, or something withholds its bytes.",
            'Give the doctor --trigger or --hub and --channel, so that it can cause an event. Send a comment or a'
                . " position at the beginning, and keepalives. $UNBUFFERED",
            @LINES
        );
    }
    my $late = $stream->{body_at} - $stream->{head_at};
    $seen->measure(buffering => seconds => rounded($late));
    return ok(sprintf 'The first byte of the body came %.2f s after the head, and nothing came in bursts.', $late);
}

# Returns what a poll has brought and the stream has not.
sub _behind {
    my $seen  = shift;
    my $lacks = $seen->{behind};
    my $what =
        $lacks eq 'all' ? 'and nothing of that came on the stream' : "with $lacks events that the stream has not sent";
    my $after = sprintf '%.2f s', $seen->{poll}{ended_at};
    $seen->measure(buffering => bytes => _collected($seen->{stream}));
    return wrong(
        "A poll was answered after $after, $what: something on the way holds responses back " . _until($seen) . q{.},
        $UNBUFFERED, @EXPLAINS);
}

# The bytes that something collects until it passes them on: those that came at once, if many did again and again, or the last
# ones were not whole. Otherwise undef.
sub _collected {
    my $stream = shift;
    my @large  = grep { $_ >= $LARGE } $stream->body->sums_of_bursts(@{$stream->{pieces}});
    return @large > 1 || $stream->body->is_in_block ? min(@large) : undef;
}

sub _head {
    my ($seen, $stream) = @_;
    my $seconds = $stream->{head_at} - ($stream->{sent_at} || 0);
    my @explains;
    $seen->measure(head => seconds => rounded($seconds));
    return ok(sprintf 'The head came %.2f s after the request.', $seconds) if $seconds < $AT_ONCE;
    my $sentence =
        sprintf 'The head came %.1f s after the request. Until then a browser does not know that the stream is'
        . ' open. The application, or something on the way, waits for the first bytes of the body.', $seconds;
    if (defined $stream->{ended_at} && $stream->{ended_at} - $stream->{head_at} < $AT_ONCE) {
        $sentence .= ' The response ended at the same moment: what withholds the bytes may have a timeout, too.';
        @explains = (explains => \@AFFECTED);
    }
    my $remedy = "Let the application send its head at once, with a first comment or position. $UNBUFFERED";
    return wrong($sentence, $remedy, @LINES, @explains);
}

sub _no_head {
    my ($seen, $stream) = @_;
    my $beside   = $seen->{beside} && $seen->{beside}->has_head;
    my $sentence = sprintf 'No byte came within %d s, not even the head.', $seen->{seconds};
    return wrong(
        "$sentence A client that asked for no compression was answered at once: a compressor withholds the response.",
        'Do not compress text/event-stream in the proxy.',
        check   => 'compression',
        proxies => ['compression']
    ) if $seen->{second} && ($seen->{second}{body_at} // $AT_ONCE) < $AT_ONCE;
    return wrong(
        sprintf(
            "$sentence A poll, which ends, was answered after %.2f s: something on the way holds responses back %s.",
            $seen->{poll}{ended_at},
            _until($seen)
        ),
        $UNBUFFERED,
        @LINES
    ) if $seen->has_polled;
    return wrong(
        "$sentence Another request was answered at once: something on the way, or the application, withholds the head.",
        $UNBUFFERED, @LINES
    ) if $beside;
    return wrong(
        "$sentence Another request was not answered either: the workers of the server are busy, perhaps with other streams.",
        "$WORKERS $UNBUFFERED",
        @LINES,
        check => 'head'
    );
}

sub _probed {
    my $seen    = shift;
    my $seconds = $seen->{probe_seconds};
    my $why =
        $seen->{behind}
        ? 'a poll has brought what the stream lacks, so something on the way holds responses back ' . _until($seen)
        : 'something on the way withholds it, or it was published to another hub or channel than this stream reads';
    return wrong("The probe has not arrived within $seen->{seconds} s: $why.",
        "$UNBUFFERED If that changes nothing, check that --trigger, or --hub and --channel, reach this stream.",
        @EXPLAINS)
        if !defined $seconds;
    $seen->measure(buffering => seconds => $seconds);
    return ok(sprintf 'The probe arrived %.2f s after it was published.', $seconds)
        if $seconds < $AT_ONCE;
    my $until = defined _collected($seen->{stream}) ? q{ } . _until($seen) : '';
    return wrong(
        sprintf("The probe arrived %.1f s after it was published: something on the way withholds bytes$until.",
            $seconds),
        $UNBUFFERED,
        @EXPLAINS
    );
}

# A stream whose application waits for others shows with a second client only.
sub _second {
    my $seen   = shift;
    my $second = $seen->{second} or return;
    return if $seen->{seconds} < $AT_ONCE;
    my $late = $second->{head_at};
    my $most = $BESIDE + ($seen->{stream}{head_at} || 0);
    return ok(sprintf('A second client was answered after %.2f s, beside the first.', $late))
        if defined $late && $late < $most;
    my $what = defined $late ? sprintf 'was answered only after %.1f s', $late : 'was not answered';
    return wrong(
        "A second client $what beside the first: that occupies the only worker, or a cache makes the second wait for it.",
        "$WORKERS Let no proxy cache streams, or lock a cache for them.",
        proxies => ['cache']
    );
}

# Until when something holds responses back.
sub _until {
    my $bytes = _collected($_[0]{stream});
    return defined $bytes ? "until some $bytes bytes have come" : 'until they end, or until very many bytes have come';
}

1;
