package EventSource::XS::Doctor::Check::Response;
use strict;
use warnings;

# The way to the stream: redirects, the status, and the type.

use EventSource::XS::Doctor::Finding qw(named ok warning wrong);

# The meaning of a status to a client of a stream, and the remedy.
my %STATUS = (
    204 => [
        'tells a browser to stop reconnecting for good',
        'Answer 204 only to a client that must not return. Keep a stream without events open.'
    ],
    301 => ['has no usable Location', 'Give the response a Location, or let the page use the final URL.'],
    400 => ['means that the server has not understood the request', 'Read the log of the server.'],
    401 => [
        'asks for a login',
        'Give the doctor --cookie or --header "Authorization: ...". An EventSource sends cookies only; fetch sends both.'
    ],
    403 => [
        'means that this client may not read the stream',
        'Give the doctor --cookie, --header or --origin of a client that may.'
    ],
    404 => ['means that there is no stream at this path', 'Check the path, and the path that the proxy passes on.'],
    405 => [
        'means that the stream does not take this method',
        'Use --method with one that the header Allow names; a browser always uses GET.'
    ],
    406 => ['means that the server does not offer text/event-stream here', 'Let the server accept that type.'],
    407 => ['comes from a proxy that asks for a login',        'Give the doctor --header "Proxy-Authorization: ...".'],
    413 => ['means that the data of the request is too large', 'Send less with --data, or raise the limit.'],
    415 => ['means that the server does not take this type of data', 'Give --header "Content-Type: ...".'],
    429 =>
        ['means that the client has asked too often', 'Wait, and raise the reconnection time (retry) of the stream.'],
    502 => ['comes from a proxy that has no valid answer of the application', 'Check that the application runs.'],
    503 => ['means that the server is overloaded or stopped', 'Check that the application runs and has free workers.'],
    504 => [
        'comes from a proxy that has waited too long for the head of the response',
        'Send the head at once. If the application does so, something withholds it, such as wait-for-body of HAProxy.'
    ],
);

# The answer of a proxy that refuses to pass a response on as it comes (RFC 10036; RFC 9209, section 2.3.12).
my %REFUSAL = (
    incremental_refused => [
        'refuses to pass a response on while it comes (Incremental, RFC 10036), instead of holding it back until its end',
        'Let that proxy pass responses on as they come. Without the header Incremental it holds them back in silence.'
    ],
    connection_limit_reached => [
        'has as many responses that last as it allows',
        'Raise that limit of the proxy; let the tabs of a browser share a stream.'
    ],
);

# Public methods

sub findings {
    my ($class, $seen) = @_;
    my $stream   = $seen->{stream} or return;
    my @findings = named(redirect => map { _redirect($_) } @{$seen->{hops}});
    push @findings, named(redirect => wrong('The redirects do not end.', 'Remove the redirect that leads back.'))
        if $seen->{is_endless};
    return @findings if !$stream->has_head;
    push @findings, named(status => _status($stream)), named(errors => _errors($seen));
    push @findings, named(type   => _type($stream)) if $stream->status == 200;
    push @findings, named(owner  => _owner($seen->{head}, $stream->header('EventSource-Owner'))) if $seen->{head};
    return @findings;
}

# Returns the name of a proxy that has refused the response, and its error; nothing if none has.
sub refusal {
    my ($class, $connection) = @_;
    return if ($connection->status || 0) < 400;
    for my $member (split /,/, $connection->header('Proxy-Status') // '') {
        my ($name, $error) = $member =~ /\A\s*"?([^";]+)"?\s*;.*?\berror\s*=\s*"?(\w+)/ or next;
        return ($name, $error) if $REFUSAL{$error};
    }
    return;
}

# Private functions

# Errors that come some of the time.
sub _errors {
    my $seen     = shift;
    my @answered = grep { $_->has_head } @{$seen->{asked} || []};
    my @bad      = grep { $_->status >= 500 } @answered;
    return if !@bad || @bad == @answered;
    my %statuses = map { ($_->status => 1) } @bad;
    my $statuses = join ' and ', sort keys %statuses;
    my ($failed, $all) = (scalar @bad, scalar @answered);
    $seen->measure(errors => failed => $failed, requests => $all);
    return wrong(
        "$failed of $all requests were answered with $statuses: a proxy cannot always reach a server, or one of several fails."
            . ' At such an answer an EventSource of a browser gives up for good.',
        'Read the log of the proxy, and let it take a failing server out (health checks). eventsource-hub.js tries again by'
            . ' itself, and with EventSource a page has to make another one at the event error.',
        explains => [qw(last_event_id poll resume second_client)],
    );
}

# With HEAD the tabs of a browser ask whose stream they would share.
sub _owner {
    my ($head, $owner) = @_;
    my $twice  = ($head->header('Content-Length') // '') =~ /(.*,.*)/ ? " and two Content-Length ($1)" : '';
    my $answer = join ' ', map { $_ // 'nothing' } $head->status, $head->header('EventSource-Owner');
    return ok('HEAD is answered with the owner of the stream, so tabs can share it.')
        if "$answer$twice" eq "200 $owner";
    return wrong(
        "HEAD is answered with $answer$twice instead of 200 $owner, the owner of the stream: tabs cannot share it.",
        'Let the application, its middleware and each proxy answer HEAD as they answer GET, without the body.'
    );
}

sub _redirect {
    my $hop = shift;
    my $how = "$hop->{from} redirects to $hop->{to} with the status $hop->{status}.";
    $how .= ' That is another origin: cookie, headers and data of the command line were not sent there.'
        if $hop->{withheld};
    return wrong(
        "$how The connection is not encrypted from there on.",
        'Redirect to https, or let the page use the final URL.'
    ) if $hop->{from} =~ /\Ahttps:/ && $hop->{to} !~ /\Ahttps:/;
    return warning("$how Each reconnection takes this way again.", "Let the page use $hop->{to}.");
}

sub _status {
    my $stream = shift;
    my $status = $stream->status;
    return ok('The status is 200.') if $status == 200;
    my ($proxy, $error) = __PACKAGE__->refusal($stream);
    if ($proxy) {
        my ($refuses, $remedy) = @{$REFUSAL{$error}};
        return wrong(
            "The status is $status instead of 200: the proxy $proxy $refuses.",
            $remedy, $error eq 'incremental_refused' ? (proxies => ['buffering']) : (),
        );
    }
    my $is_last = $status =~ /\A3/ ? 301 : $status;
    my ($means, $remedy) = @{$STATUS{$is_last} || ['is not a success', 'Read the log of the server.']};
    my $allow = $stream->header('Allow');
    $remedy .= " It allows $allow." if defined $allow;
    return wrong(
        "The status is $status instead of 200, which $means."
            . ($status == 204 ? '' : ' A browser reports an error and does not try again.'),
        $remedy,
        $status == 504 ? (proxies => ['buffering']) : (),
    );
}

sub _type {
    my $stream = shift;
    my $type   = $stream->header('Content-Type');
    my @mend   = ('Send Content-Type: text/event-stream. Do not let a proxy replace it.', proxies => ['type']);
    return wrong('The response has no Content-Type, so a browser refuses it.', @mend)
        if !defined $type;
    my ($essence, $rest) = $type =~ /\A\s*([^;\s]*)\s*(.*)\z/s;
    if (lc $essence ne 'text/event-stream' || $type =~ /,/) {
        my $why = lc $essence eq 'text/html' ? ' It is a page, such as a login or an error.' : '';
        return wrong("The Content-Type is $type instead of text/event-stream, so a browser refuses it.$why", @mend);
    }
    return wrong("The Content-Type is $type, but an event stream is always UTF-8.", @mend)
        if $rest =~ /charset\s*=\s*"?([^";\s]*)/i && $1 !~ /\Autf-?8\z/i;
    return ok("The Content-Type is $type.");
}

1;
