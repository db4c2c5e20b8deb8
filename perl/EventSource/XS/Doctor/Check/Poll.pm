package EventSource::XS::Doctor::Check::Poll;
use strict;
use warnings;

# Looks whether a page with eventsource-hub.js receives events where streams do not pass: it polls (RFC 7240, the preference
# wait).

use EventSource::XS::Doctor::Finding qw(ok rounded warning);

my $AT_ONCE = 1;    # seconds; what takes longer was withheld

# Public methods

sub findings {
    my ($class, $seen) = @_;
    my $poll = $seen->{poll} or return;
    return _polled($seen) if $seen->has_polled && !$poll->is_copy;
    return                if !$seen->is_hindered;
    return warning('No page receives events in time here: ' . _why($poll) . '.',
        'Mend what is wrong above, or let the page reach the server on another way: over TLS, or past the proxy.');
}

# Private functions

sub _polled {
    my $seen = shift;
    my ($poll, $waiting, $seconds) = @$seen{qw(poll waiting polled_seconds)};
    $seen->measure(poll => seconds => rounded($poll->{ended_at}), probe_seconds => $seconds);
    my $sentence = sprintf 'A poll was answered after %.2f s', $poll->{ended_at};
    return ok("$sentence: where streams do not pass, a page with eventsource-hub.js polls.")
        if !$waiting;
    return warning("$sentence, but one that was to wait was not answered in time: " . _why($waiting) . '.',
        'Raise the timeout of the proxy for a response beyond 20 seconds.')
        if $waiting->is_copy
        || !$waiting->is_whole
        || $waiting->status != 200
        || ($seconds // 0) >= $AT_ONCE;
    $sentence .= sprintf ', and one that waited had the probe %.2f s after it was published', $seconds
        if defined $seconds;
    return ok("$sentence: a page with eventsource-hub.js polls here, and events still come within a second.");
}

sub _why {
    my $poll   = shift;
    my $status = $poll->status;
    return 'a poll was not answered in time either'                         if !defined $status;
    return "a poll got the status $status"                                  if $status != 200;
    return 'a cache has answered a poll'                                    if $poll->is_copy;
    return 'the server answers no polls, as a hub of EventSource::Hub does' if !defined $poll->applied->{wait};
    return 'the answer to a poll did not end';
}

1;
