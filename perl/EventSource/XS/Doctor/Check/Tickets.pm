package EventSource::XS::Doctor::Check::Tickets;
use strict;
use warnings;

# Looks whether a client that comes back with a ticket begins its stream without the application, and why not.

use EventSource::XS::Doctor::Finding qw(ok wrong);
use HTTP::Date                       qw(str2time);

my $NAME = qr/\Aeventsource-ticket/;

# Why the hub has refused tickets, by its counts.
my %REASON = (
    expired   => 'the ticket was too old',
    limited   => 'max_streams_per allows no more streams of this client',
    unknown   => 'it does not open: something of the request differs each time, or another hub has issued it',
    withdrawn => 'its right was withdrawn (end)',
);

# Public methods

# Return the cookies that a response sets: hashes of name, value, path, and is_sent: a browser sends it back to this URL.
sub cookies {
    my ($class, $connection) = @_;
    my $url = $connection->{url};
    return map {
        my ($pair, @attributes) = map { (/\A\s*(.*\S)?/s)[0] // '' } split /;/, $_->[1];
        my ($name, $value) = split /=/, $pair // '', 2;
        my %is        = map { /\A([^=]+)=?(.*)\z/ ? (lc $1 => $2) : () } @attributes;
        my $path      = ($is{path} // '') =~ m{\A/} ? $is{path} : $url->path =~ m{\A(/.*)/}s ? $1 : '/';
        my $is_secure = exists $is{secure} && $url->scheme ne 'https';
        my ($age)     = ($is{'max-age'} // '') =~ /\A(-?[0-9]+)\z/;
        my $is_kept   = ($age // (str2time($is{expires}) // 'inf') - time) > 0;
        my $is_sent   = $is_kept && !$is_secure && $url->path =~ m{\A\Q$path\E(?:\z|(?<=/)|/)};
        {name => $name // '', value => $value // '', path => $path, is_secure => $is_secure, is_sent => $is_sent};
    } grep { lc $_->[0] eq 'set-cookie' } @{$connection->{headers}};
}

sub findings {
    my ($class, $seen) = @_;
    my @visits = @{$seen->{visits} || []} or return;
    my $last   = $visits[-1];
    my $status = $last->{connection}->status || 0;
    my $type   = ($last->{connection}->header('Content-Type') // 'no type') =~ s/\s*;.*//sr;
    return wrong(
        $status
        ? "A client that comes back got the status $status and $type instead of a stream."
        : 'A client that comes back got no answer.',
        'Read the logs of the proxy and the application.'
    ) if $status != 200 || lc $type ne 'text/event-stream';
    return _none($seen) if @visits == 1;
    my $ticket = $class->ticket($last) or return _opened($last, @visits - 1);
    return _unsent($seen, $ticket) if !$ticket->{is_sent};
    my @again =
        grep { $_->{name} !~ $NAME && exists $last->{sent}{$_->{name}} && $last->{sent}{$_->{name}} ne $_->{value} }
        @{$last->{set}};
    return wrong(
        "The application is asked each time, for it sets the cookie $again[0]{name} anew, and a ticket counts for its cookies.",
        "Let it set $again[0]{name} only when it changes, or name the cookies that count: ticket => {cookies => [...]}."
    ) if @again;
    my $counted = $seen->{tickets_counted} || {};
    my ($why)   = map { ": $REASON{$_}" } grep { $counted->{$_} } sort keys %REASON;
    my $ask     = defined $seen->{hub} ? '' : ' --hub NAME says why the hub refuses the ticket.';
    return wrong(
        'The application is asked each time, though the client brings its ticket back' . ($why // '') . q{.},
        "Let the proxy pass Cookie, Host, Origin, the path and the query on as they are, the same in each way to the hub.$ask"
    );
}

# The ticket that a visit was given, if it was.
sub ticket {
    my ($ticket) = grep { $_->{name} =~ $NAME } @{$_[1]{set}};
    return $ticket;
}

# Private functions

sub _none {
    my $counted = shift->{tickets_counted} || {};
    return wrong(
        'The stream gives its client no ticket'
            . ($counted->{too_large} ? ': it would be too large for a cookie.' : '.'),
        $counted->{too_large}
        ? 'Subscribe a stream to fewer channels, perhaps to a pattern, or give it fewer labels.'
        : 'Set ticket in to_app, and look into the log of the server: it says once if a ticket would be too large.'
    );
}

sub _opened {
    my ($last, $returns) = @_;
    my $sentence = 'A client that comes back begins its stream by its ticket, without the application'
        . ($returns > 1 ? ', from the second time on: the first response has set other cookies' : '');
    return ok("$sentence. The hub process serves it.") if defined $last->{connection}->applied->{ticket};
    return ok(
        "$sentence. A worker opens the ticket: if the hub process has --http, the proxy does not reach its socket.");
}

sub _unsent {
    my ($seen, $ticket) = @_;
    my $path = $seen->{url}->path;
    return wrong(
        'No browser brings the ticket back: its cookie is Secure, and the URL begins with http://.',
        'Let the proxy set X-Forwarded-Proto to the scheme that the client uses.'
    ) if $ticket->{is_secure};
    return wrong(
        "No browser brings the ticket back: its cookie is for the path $ticket->{path}, and the URL has $path.",
        "A proxy changes the path: let it change that of cookies, too (nginx: proxy_cookie_path $ticket->{path} $path;)."
    );
}

1;
