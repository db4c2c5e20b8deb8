package EventSource::XS::Doctor::Check::Resume;
use strict;
use warnings;

# Looks whether a client that reconnects receives what it has missed. An id that has no effect in the header is sent in the
# query, too: that tells a server that does not resume from a proxy that removes Last-Event-ID.

use EventSource::XS::Doctor::Finding qw(named ok warning wrong);

my $SHORT_RETRY = 250;          # milliseconds
my $LONG_RETRY  = 60_000;       # milliseconds
my $NEVER       = 3_600_000;    # milliseconds

my %UNKNOWN = (
    events => 'An id that the server does not know is answered with events, without a gap event.',
    gap    => 'An id that the server does not know is answered with a gap event, so a client can load its state again.',
    nothing =>
        'An id that the server does not know is answered without a gap event: a client cannot know what it has missed.',
);

# Public methods

sub findings {
    my ($class, $seen) = @_;
    return if !$seen->is_streaming || $seen->{method} ne 'GET' || !defined $seen->{stream}{body_at};
    return (named(ids => _ids($seen)), _resume($seen), named(retry => _retry($seen->{stream}->body)));
}

# Private functions

sub _ids {
    my $seen = shift;
    my $body = $seen->{stream}->body;
    return if $body->ids || !$body->events;
    return warning(
        'The events have no id, so a client that reconnects loses what was sent meanwhile.',
        'Give each event an id, and begin after the Last-Event-ID of the request; EventSource::Hub does both.'
    );
}

sub _resume {
    my $seen   = shift;
    my $resume = $seen->{resume} or return;
    my $status = $resume->{by_header}->status;
    return wrong(
        'A request with Last-Event-ID ' . (defined $status ? "got the status $status." : 'was not answered.'),
        'Answer a request with Last-Event-ID as one without it. Read the logs of the proxy and the application.'
    ) if ($status || 0) != 200;
    return wrong(
        'The server resumes after an id in the query, but not in the header Last-Event-ID: a proxy removes the header.',
        'Let the proxy pass Last-Event-ID on.',
        check   => 'last_event_id',
        proxies => ['last_event_id']
    ) if $resume->{is_stripped};
    my @mend = (
        'Begin after the Last-Event-ID of the request (EventSource::Hub does), and let the proxy pass that header on.',
        proxies => ['last_event_id'],
    );
    return wrong("A client that reconnects with the id $resume->{from} receives the event with that id once more.",
        @mend)
        if $resume->{is_repeated};
    return if $resume->{is_told} && $seen->epochs > 1;    # another hub has answered
    return ok('A client that reconnects receives a gap: the history is shorter than its absence.')
        if $resume->{is_told};
    return wrong(
        "A client that reconnects with the id $resume->{from} does not receive the events that were sent after it.",
        @mend)
        if $resume->{is_wanted} && !$resume->{is_resumed};
    my $unknown = $UNKNOWN{$resume->{unknown} || ''};
    my $sentence =
        $resume->{is_wanted}
        ? "A client that reconnects with the id $resume->{from} receives what it has missed, once."
        : "A client that reconnects with the id $resume->{from} receives nothing twice; there was no event to miss.";
    return ok(join ' ', $sentence, defined $unknown ? $unknown : ());
}

sub _retry {
    my $body  = shift;
    my $retry = $body->{retry};
    return ok('The stream sets no reconnection time, so each client uses its own (browsers: 3 to 5 s).')
        if !defined $retry;
    my $remedy = 'Set retry to a value from 2000 to 10000 milliseconds.';
    return wrong("The reconnection time is $retry ms: clients do not come back for an hour or more.", $remedy)
        if $retry >= $NEVER;
    return warning("The reconnection time is $retry ms: clients are away for long after each cut.", $remedy)
        if $retry > $LONG_RETRY;
    return warning(
        "The reconnection time is $retry ms: after a restart all clients come back at once, again and again.", $remedy)
        if $retry < $SHORT_RETRY;
    return ok("The reconnection time is $retry ms.");
}

1;
