package EventSource::Client;
use strict;
use warnings;

# A client for the event stream of any server. The rules are in XS/Client/Source.pm, the libraries that do HTTP and TLS in
# XS/Client/Transport/. Here is what happens when: in a call of next, or in the turns of an event loop.

our $VERSION = '0.100';

use EventSource::Error;
use EventSource::XS ();
use EventSource::XS::Client::Source;
use EventSource::XS::Client::Transport;
use EventSource::XS::Loop;
use EventSource::XS::Report;
use EventSource::XS::Reason;
use EventSource::XS::Settings;
use EventSource::XS::WeakLink;
use JSON::MaybeXS ();
use List::Util    qw(max min);
use Scalar::Util  qw(weaken);
use Time::HiRes   qw(CLOCK_MONOTONIC clock_gettime sleep);
use URI;

my $SETTINGS = EventSource::XS::Settings->new(__PACKAGE__);

my @CALLBACKS = qw(on_bytes on_close on_error on_event on_gap on_open);
my @OPTIONS   = qw(
    content gap_event headers json last_event_id max_event method position_event reconnect retry retry_statuses timeout url via
);

my $MAX_EVENT = 1_048_576;    # bytes
my $RETRY     = 1000;         # milliseconds
my $TIMEOUT   = 300;          # seconds

# Pieces of text that are parsed in one turn of the event loop.
my $MAX_PIECES = 16;

sub CLONE_SKIP { return 1 }

sub new {
    my ($class, @given) = @_;
    my %given = $SETTINGS->parse('new takes options', @given);
    $SETTINGS->known(\%given, [@OPTIONS, @CALLBACKS], 'option %s');
    $SETTINGS->code($_ => $given{$_}) for @CALLBACKS;
    my $self = bless {
        (map { ($_ => $given{$_}) } @CALLBACKS),
        input => '',
        pid   => $$,
        queue => [],
        turn  => {},
    }, $class;
    my $link = $self->{link} = EventSource::XS::WeakLink->new($self);
    $given{on_text} = sub { $$link->_call(on_bytes => $_[0]) if $$link }
        if $given{on_bytes};
    $self->{source} = EventSource::XS::Client::Source->new(_of_source(%given), place => EventSource::Error->here);

    if ($given{on_event}) {
        $self->{transport_class} = _transport_in_loop($given{via});
        $self->{loop}            = EventSource::XS::Loop->named($self->{transport_class}->loop);
        $self->_set_timer(0);
    }
    else {
        $SETTINGS->refuse(via => 'via is for a client with on_event') if defined $given{via};
        $self->{transport_class} = EventSource::XS::Client::Transport->blocking;
    }
    return $self;
}

# Public methods

sub close {
    my $self = shift;
    $self->{source}->close;
    $self->{queue} = [];
    $self->{input} = '';
    $self->_report;
    return;
}

sub error { return $_[0]{error} }

sub header {
    my ($self, $name) = @_;
    my $headers = $self->{source}{response_headers} or return undef;
    return $headers->{lc $name};
}

sub last_event_id { return $_[0]{source}->last_event_id }

# A callback may drop the last reference to the client.
sub next {
    my ($self, $timeout) = @_;
    weaken $self;
    $SETTINGS->seconds(timeout => $timeout);
    EventSource::Error->throw(code => 'state', message => 'EventSource::Client: next is for a client without on_event')
        if $self->{loop};
    my $until = defined $timeout ? _now() + $timeout : undef;
    my $has_waited;
    while ($self) {
        my $now = _now();
        if (my $event = shift @{$self->{queue}}) {
            return $event if !$event->{is_gap} || !$self->{on_gap};
            $self->_call(on_gap => $event);
            next;
        }
        next if $self->_advance($now);
        last if $self->state eq 'closed';
        my $left = defined $until ? $until - $now : undef;
        return undef if $has_waited && defined $left && $left <= 0;
        $self->_wait($now, $left);
        $has_waited = 1;
    }
    my $failure = $self && delete $self->{failure} or return undef;
    die $failure->at(EventSource::Error->here);
}

sub pause {
    my $self = shift;
    $self->_refuse_blocking('pause');
    $self->{is_paused} = 1;
    $self->_set_reading;
    return;
}

sub resume {
    my $self = shift;
    $self->_refuse_blocking('resume');
    return if !delete $self->{is_paused};
    $self->{source}->is_alive(_now());
    $self->_set_timer(0);
    return;
}

sub state {
    my $state = $_[0]{source}->state;
    return $state =~ /\A(?:closed|open)\z/ ? $state : 'connecting';
}

sub status { return $_[0]{source}{status} }

sub url { return $_[0]{source}{url}->as_string }

sub DESTROY {
    my $self = shift;
    return if ${^GLOBAL_PHASE} eq 'DESTRUCT' || $self->{pid} != $$;
    local ($@, $!, $?);
    $self->_cut;
    return;
}

# Private functions

sub _now { return clock_gettime(CLOCK_MONOTONIC) }

# The options of the source, checked.
sub _of_source {
    my %given = @_;
    my $url   = $SETTINGS->string(url => $given{url});
    $url = defined $url ? URI->new($url)->canonical : undef;
    my $problem = EventSource::XS::Client::Source->problem_of($url);
    $SETTINGS->refuse(url => $problem =~ /http/ ? 'url must be an absolute URL of http or https' : "url $problem")
        if defined $problem;
    $SETTINGS->refuse(json => 'json and content are two ways to give the content')
        if defined $given{json} && defined $given{content};
    my @headers = @{$SETTINGS->headers(headers => $given{headers}) || []};
    my $content = $SETTINGS->string(content => $given{content});

    if (defined $given{json}) {
        $content = JSON::MaybeXS->new(utf8 => 1, allow_nonref => 1, canonical => 1)->encode($given{json});
        @headers = ('Content-Type' => 'application/json', @headers);
    }
    $SETTINGS->refuse(content => 'content has a character above U+00FF; encode it first')
        if defined $content && $content =~ /[^\0-\xFF]/;
    my $method = $given{method} // (defined $content ? 'POST' : 'GET');
    $SETTINGS->refuse(method => "method must be a method such as 'GET' or 'POST', but not HEAD or CONNECT")
        if ref $method || $method !~ /\A[A-Z]+\z/ || $method =~ /\A(?:HEAD|CONNECT)\z/;
    $SETTINGS->one_line(last_event_id => $given{last_event_id}) if length($given{last_event_id} // '');
    $SETTINGS->seconds(timeout => $given{timeout});
    $SETTINGS->whole_number(retry => $given{retry}, from => 0, unit => 'milliseconds');
    my $statuses =
        defined $given{retry_statuses}
        ? $SETTINGS->array(retry_statuses => $given{retry_statuses}, 'HTTP statuses')
        : [];
    $SETTINGS->whole_number('an element of retry_statuses' => $_, from => 400, to => 599, field => 'retry_statuses')
        for @$statuses;
    return (
        content       => $content,
        gap_event     => $given{gap_event} // 'gap',
        headers       => [map { [@headers[2 * $_, 2 * $_ + 1]] } 0 .. @headers / 2 - 1],
        last_event_id => $SETTINGS->string(last_event_id => $given{last_event_id}),
        max_event     => $SETTINGS->whole_number(max_event => $given{max_event}, from => 1, to => 999_999_999_999_999)
            // $MAX_EVENT,
        method         => $method,
        on_text        => $given{on_text},
        position_event => $given{position_event} // 'position',
        reconnect      => $given{reconnect}      // ($method eq 'GET'),
        retry          => $given{retry}          // $RETRY,
        retry_statuses => $statuses,
        timeout        => $given{timeout} // $TIMEOUT,
        url            => $url,
    );
}

sub _transport_in_loop {
    my $via   = shift;
    my $names = join ', ', EventSource::XS::Client::Transport->names;
    $SETTINGS->one_of(via => $via, EventSource::XS::Client::Transport->names);
    return EventSource::XS::Client::Transport->in_loop($via)
        || EventSource::Error->throw(
        code    => 'unsupported',
        message => "EventSource::Client: on_event needs one of $names: load it, or name it with via"
        );
}

# Private methods

# Do one thing that is due and needs no waiting. Returns false if there is none.
sub _advance {
    my ($self, $now) = @_;
    my $source = $self->{source};
    return !!1 if $self->_report;
    my $state = $source->state;
    return !!0 if $state eq 'closed';
    if (length $self->{input} || $source->has_more) {
        push @{$self->{queue}}, $source->events($now, \$self->{input});
    }
    elsif (my $end = delete $self->{end}) {
        my ($code, $text) = @$end;
        $source->end($now, defined $code ? $source->error($code, $text) : undef);
    }
    elsif ($state eq 'redirected' || $state eq 'waiting' && $now >= $source->wakes_at) {
        $self->_open($now);
    }
    else {
        return !!0;
    }
    return !!1;
}

# Exceptions of callbacks reach the caller of next. In an event loop there is none.
sub _call {
    my ($self, $name, @arguments) = @_;
    my $code = $self->{$name} or return;
    if ($self->{loop}) {
        EventSource::XS::Report->call_back({}, "EventSource::Client: $name died", $code, $self, @arguments);
    }
    else { $code->($self, @arguments) }
    return;
}

# End the connection.
sub _cut {
    my $self      = shift;
    my $transport = delete $self->{transport};
    @$self{qw(end input is_reading)} = (undef, '', 1);
    $transport->close if $transport;
    return;
}

# An exception of a library, about a URL or its answer, is the end of this connection.
sub _open {
    my ($self, $now) = @_;
    my $link = $self->{link};
    my $on   = sub {
        my $take = shift;
        return sub {
            $$link->$take(@_) if $$link;
            $$link->_turn     if $$link;
            return;
        };
    };
    my %on = (bytes => $on->('_take_bytes'), end => $on->('_take_end'), head => $on->('_take_head'));
    $self->_cut;
    my $request = $self->{source}->request($now);
    local $SIG{__DIE__};
    $self->{end} = [unavailable => EventSource::XS::Reason->of($@)]
        if !eval { $self->{transport} = $self->{transport_class}->open($request, \%on) };
    return;
}

sub _refuse_blocking {
    my ($self, $method) = @_;
    return if $self->{loop};
    EventSource::Error->throw(
        code    => 'state',
        message => "EventSource::Client: $method is for a client with on_event; without it, next reads as it is called"
    );
    return;
}

# Call the callbacks about what has happened. Returns true if one thing was reported.
sub _report {
    my $self   = shift;
    my $source = $self->{source};
    my $state  = $source->state;
    $self->_cut if $self->{transport} && $state =~ /\A(?:closed|redirected|waiting)\z/;
    if (delete $self->{has_opened}) {
        $self->_call('on_open');
        return !!1;
    }
    my $error = $source->take_error;
    if ($error) {
        $self->{error}   = $error;
        $self->{failure} = $error if $state eq 'closed';
        $self->_call(on_error => $error);
        return !!1;
    }
    return !!0 if $state ne 'closed' || @{$self->{queue}} || $self->{has_closed}++;
    delete $self->{timer};
    $self->_call(on_close => $self->{failure});
    return !!1;
}

# Read from the server unless the application does not take what there is.
sub _set_reading {
    my $self       = shift;
    my $transport  = $self->{transport} or return;
    my $is_reading = !$self->{is_paused} && !length $self->{input} && !$self->{source}->has_more;
    return if $is_reading == $self->{is_reading};
    $self->{is_reading} = $is_reading;
    if   ($is_reading) { $transport->resume }
    else               { $transport->pause }
    return;
}

# Take a turn after some seconds, if nothing happens before.
sub _set_timer {
    my ($self, $seconds) = @_;
    my $at = _now() + $seconds;
    return if $self->{timer} && $self->{timer_at} <= $at;
    my $link = $self->{link};
    my $turn = sub {
        return if !$$link;
        delete $$link->{timer};
        $$link->_turn;
    };
    @$self{qw(timer timer_at)} = ($self->{loop}->after($seconds, $turn), $at);
    return;
}

sub _take_bytes {
    my ($self, $bytes) = @_;
    $self->{input} .= $bytes;
    $self->{source}->is_alive(_now());
    return;
}

sub _take_end {
    my ($self, @error) = @_;
    $self->{end} = \@error;
    return;
}

sub _take_head {
    my ($self, @head) = @_;
    $self->{has_opened} = $self->{source}->head(_now(), @head) eq 'read';
    $self->_cut if !$self->{has_opened};
    return;
}

# In an event loop: deliver what there is, do what is due, and come back when there is more. A callback may drop the last
# reference to the client: then nothing more is delivered.
sub _turn {
    weaken(my $self = shift);
    my $turn = $self->{turn};
    return if !$self->{loop} || $turn->{is_running};
    local $turn->{is_running} = 1;
    my ($source, $pieces) = ($self->{source}, 0);
    while ($self && !$self->{is_paused}) {
        if (my $event = shift @{$self->{queue}}) {
            $self->_call($event->{is_gap} && $self->{on_gap} ? 'on_gap' : 'on_event', $event);
            next;
        }
        my $now = _now();
        last if $source->state eq 'open' && (length $self->{input} || $source->has_more) && $pieces++ >= $MAX_PIECES;
        last if !$self->_advance($now) && !$source->tick($now);
    }
    $self->_wait_for_more($pieces > $MAX_PIECES) if $self;
    return;
}

# Wait until something comes, but not beyond a number of seconds; undef if there is no such bound.
sub _wait {
    my ($self, $now, $seconds) = @_;
    my $source = $self->{source};
    my $at     = $source->wakes_at;
    my $wait   = min(map { max(0, $_) } grep { defined } $seconds, defined $at ? $at - $now : undef);
    if    ($self->{transport}) { $source->is_alive(_now()) if $self->{transport}->turn($wait) }
    elsif (defined $wait)      { sleep $wait }
    $source->tick(_now());
    return;
}

# In an event loop: read what comes, and take the next turn at once, or when the source wants it.
sub _wait_for_more {
    my ($self, $is_at_once) = @_;
    $self->_set_reading;
    return if $self->{is_paused};
    my $at = $self->{source}->wakes_at;
    $self->_set_timer($is_at_once ? 0 : max(0, $at - _now())) if defined $at;
    return;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Client - Read the event stream of any server

=head1 SYNOPSIS

    use EventSource::Client;

    my $client = EventSource::Client->new(url => 'http://127.0.0.1:8000/events', timeout => 60);
    while (my $event = $client->next) {
        print "$event->{event}: $event->{data}\n";
    }

=head1 DESCRIPTION

The client reads a stream as an EventSource of a browser does (WHATWG HTML, section 9.2): it reconnects after the last event
ID, follows redirects, and stops when the server asks for it. It also sends requests of other methods, with content, as the
interfaces of language models want them.

A program that blocks calls L</next>. A program with an event loop gives L</on_event>; then the client works in that loop.
The client opens nothing before the first call of C<next>, or before the next turn of the loop.

A library connects, does TLS and sends the request:

=over

=item C<next>

L<Net::HTTP>, the layer below L<LWP::UserAgent>, with L<IO::Socket::SSL> for C<https>

=item AnyEvent, EV

L<AnyEvent::HTTP>

=item Mojo::IOLoop

L<Mojo::UserAgent>

=item IO::Async

L<Net::Async::HTTP>, with L<IO::Async::SSL> for C<https>

=back

Certificates are checked. Proxies of the environment are used by L<AnyEvent::HTTP> alone. The client reads the response
itself, so the same bytes mean the same with each library.

The memory of a client is bounded: by L</max_event>, and by about a megabyte of bytes that were read and not yet parsed. A
program that is slow slows the server down: the client reads no more while events wait for it.

A client ends its connection with L</close>, and when the last reference to it is gone; then nothing more is delivered, also
if that happens in a callback. A child of C<fork> must not use the client of its parent, and a new ithread has none. (L<EV>
does not bear ithreads while it watches connections: choose another loop for programs with both.)

What a server sends is never an exception in an event loop. The client's own attempts do not reach a handler of
C<$SIG{__DIE__}>; what C<next> throws does.

=head2 Reconnection

A connection that fails, is cut, is silent for L</timeout> or ends is followed by another one, if L</reconnect> is true. The
request goes to L</url> again, with C<Last-Event-ID> if there is an id (sections 9.2.3 and 9.2.4). Before it is a pause of
the C<retry> that the stream has set last, or of L</retry>: at least 0.25 s, at most a day. It doubles with each attempt
that brings no event, up to 30 s, and is up to a quarter longer at random.

What is not a response of HTTP/1 counts as a connection that fails: another protocol, a head with a line that is not a field
or with more than 65,536 bytes, a length that is not one number. So does a stream with a wrong chunk or damaged gzip, after
the events before it. Informational responses (100, 102, 103) are skipped.

A response of 204 ends the client. So does, with an error, any other status than 200, and a type that is not
C<text/event-stream> (section 9.2.3); L</retry_statuses> are an exception.

An id with a control character (other than a tab) is not sent, since servers refuse such a header, and that would end the
client: the next connection begins as one without an id.

=head2 Redirects

301, 302, 303, 307 and 308 are followed, at most 20 in a row, as Fetch does: after 303, and for POST after 301 and 302, the
method becomes GET, without content. The next connection asks L</url> again. Redirects from C<https> to C<http>, those of a
request with content to another origin, and those to a URL without a host or with a port above 65,535 are an error. Another
origin is not sent the L</headers>, nor the name and the password of the URL.

=head1 METHODS

=head2 new

    my $client = EventSource::Client->new(url => $url, %options);
    my $client = EventSource::Client->new(\%options);

Make a client. The options are below; only L</url> is required. Throws an L<EventSource::Error> with the code C<invalid> and
the field of the option that is at fault; with the code C<unsupported> if there is C<on_event> and none of the libraries is
loaded.

=head2 close

    $client->close;

End the connection, for good. Events that were not yet delivered are dropped. L</on_close> is called. Returns nothing.

=head2 error

    my $error = $client->error;

Return the newest error, an L<EventSource::Error>; C<undef> if there was none. What its message shows of the server's bytes
is without control characters, and cut after 300. Its code is one of

=over

=item C<unavailable>

There is no connection, or it was cut, or brings no response of HTTP, or the stream has ended and the client reconnects.

=item C<timeout>

The server has sent nothing for L</timeout>.

=item C<refused>

The response is not an event stream, or a redirect is not followed. L</status> is its status.

=item C<invalid>

An event has more bytes than L</max_event>, which is the field.

=item C<unsupported>

There is no module for C<https>.

=back

=head2 header

    my $value = $client->header('X-Request-Id');

Return a header of the newest response, several of one name joined by a comma and a blank; C<undef> if there is none.

=head2 last_event_id

    my $id = $client->last_event_id;

Return the last event ID, a string of characters, empty if there is none: what the next request would send. Events that were
read and not yet delivered have moved it. Each event has the id at its place in the stream.

=head2 next

    my $event = $client->next;
    my $event = $client->next($seconds);

Wait for the next event, and return it as L<EventSource::Parser/feed> does: a reference to a hash of C<event>, C<data> and
C<id>. A gap (L</gap_event>) has a true C<is_gap> besides; with L</on_gap> it is not returned. Returns C<undef> when the
stream has ended, or when no event has come for that number of seconds (from 0, fractions allowed; without one it waits for
ever): L</state> tells which. Making a connection is not interrupted, and can take ten seconds more.

Throws the L</error> that has ended the client, once, after the events before it. Throws an L<EventSource::Error> with the
code C<state> if the client has L</on_event>.

=head2 pause, resume

    $client->pause;
    $client->resume;

Deliver no events, and read nothing from the server, until C<resume>. Meanwhile L</timeout> does not count. For a client
with L</on_event>; otherwise they throw an L<EventSource::Error> with the code C<state>. Return nothing.

=head2 state

    my $state = $client->state;

Return C<connecting> (also in the pause before an attempt), C<open> or C<closed>, the C<readyState> of section 9.2.2.

=head2 status

    my $status = $client->status;

Return the HTTP status of the newest response; C<undef> if there was none.

=head2 url

    my $url = $client->url;

Return the URL, without name, password and fragment.

=head1 OPTIONS

C<undef> stands for the default.

=head2 content, json

    content => $bytes
    json    => {model => 'llama3.2', stream => \1, messages => \@messages}

The body of the request: a string of bytes, or a value that is encoded as JSON and sent with
C<Content-Type: application/json>. By default none.

=head2 gap_event

    gap_event => 'gap'

The type of the event with which a hub reports missed events (L<EventSource::Hub/gap_event>); C<gap> by default.

=head2 headers

    headers => [Authorization => 'Bearer secret']

Headers of the request: a reference to an array of names and values. They replace those of the client with the same name:
C<Accept>, C<Accept-Encoding> (C<gzip>, if L<Compress::Raw::Zlib> is there), C<Cache-Control>, C<User-Agent>. A name and a
password in the URL are sent as C<Authorization>.

=head2 last_event_id

    last_event_id => $id

The id after which to begin: one line of characters; by default none. One with a control character is not sent
(L</Reconnection>).

=head2 max_event

    max_event => 1_048_576

The most bytes of an event (L<EventSource::Parser/new>), by default 1,048,576. A longer one ends the client.

=head2 method

    method => 'POST'

The method, in capital letters; C<POST> if there is content, otherwise C<GET>.

=head2 on_bytes

    on_bytes => sub { my ($client, $bytes) = @_; ... }

Called with the bytes of the stream, without content coding, before they are parsed.

=head2 on_close

    on_close => sub { my ($client, $error) = @_; ... }

Called once, when the client is closed: with an error if it has failed.

=head2 on_error

    on_error => sub { my ($client, $error) = @_; ... }

Called with each L</error>. If L</state> is C<connecting>, the client will try again.

=head2 on_event

    on_event => sub { my ($client, $event) = @_; ... }

Called with each event, as C<next> returns it. An exception of a callback in an event loop is a warning, and the client
continues. The other callbacks are also called without C<on_event>, in C<next>; there an exception reaches the caller.

=head2 on_gap

    on_gap => sub { my ($client, $event) = @_; ... }

Called with each gap, which then is neither given to C<on_event> nor returned by C<next>.

=head2 on_open

    on_open => sub { my $client = shift; ... }

Called when a response is an event stream.

=head2 position_event

    position_event => 'position'

The type of the event with which a hub reports a position (L<EventSource::Hub/position_event>); C<position> by default. It
moves the last event ID. With empty data it is not delivered.

=head2 reconnect

    reconnect => 0

True: reconnect. By default true for the method GET, otherwise false: a request of another method is not repeated, the end
of its response closes the client, and a cut is an error.

=head2 retry

    retry => 1000

The reconnection time that counts until the stream sets one: a whole number of milliseconds from 0, by default 1,000.

=head2 retry_statuses

    retry_statuses => [429, 502, 503]

Statuses from 400 to 599 after which to reconnect, not before the time of C<Retry-After>; by default none, as the standard
has it.

=head2 timeout

    timeout => 300

For how long a server may send nothing, in seconds (from 0, fractions allowed); 300 by default, 0 for ever. Comments are
signs of life, so choose some keepalives of the server.

=head2 url

    url => 'https://shop.example/events'

An absolute URL of C<http> or C<https>.

=head2 via

    via => 'AnyEvent::HTTP'

The library for the event loop: C<AnyEvent::HTTP>, C<Mojo::UserAgent> or C<Net::Async::HTTP>. The client loads it. By
default it is the first of them that the application has loaded; none is loaded then.

=head1 SEE ALSO

L<EventSource::Parser>, L<EventSource::Clients>, L<EventSource::Cookbook>, and C<eventsource tail> (L<eventsource>)

=cut
