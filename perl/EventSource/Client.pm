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
use EventSource::XS::ErrorLog;
use EventSource::XS::Loop;
use EventSource::XS::Reason;
use EventSource::XS::Settings;
use EventSource::XS::Signals qw(without_signals);
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
    my %given = $SETTINGS->options('new takes options', \@given, 'option %s', @OPTIONS, @CALLBACKS);
    $SETTINGS->code($_ => $given{$_}) for @CALLBACKS;
    my $self = bless {
        (map { ($_ => $given{$_}) } @CALLBACKS),
        input => '',
        pid   => $$,
        queue => [],
        turn  => {},
    }, $class;
    $self->{link}   = EventSource::XS::WeakLink->new($self);
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
    $self->_call($self->_report);
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
    $SETTINGS->throw(state => 'next is for a client without on_event')
        if $self->{loop};
    my $until = defined $timeout ? _now() + $timeout : undef;
    my $has_waited;
    while ($self) {
        my $now = _now();
        if (my $event = $self->{queue}[0]) {
            return shift @{$self->{queue}} if !$event->{is_gap} || !$self->{on_gap};
            $self->_call(on_gap => shift @{$self->{queue}});
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
        utf8::encode($content = $SETTINGS->json($given{json}));
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
        || $SETTINGS->throw(unsupported => "on_event needs one of $names: load it, or name it with via");
}

# Private methods

# Do one thing that is due and needs no waiting. Returns false if there is none. A handler of a signal that dies must not leave
# it half done: it runs before or after, in the call of next.
sub _advance {
    my ($self, $now) = @_;
    my $step = sub { [$self->_step($now)] };
    my ($is_done, @call) = @{$self->{loop} ? $step->() : without_signals($step)};
    $self->_call(@call);
    return $is_done;
}

# Returns whether there was something to do, and what to call about it.
sub _step {
    my ($self, $now) = @_;
    my @call = $self->_report;
    return (!!1, @call) if @call;
    my $source = $self->{source};
    my $state  = $source->state;
    return !!0 if $state eq 'closed';
    if (length $self->{input} || $source->has_more) {
        my ($text, @events) = $source->events($now, \$self->{input});
        push @{$self->{queue}}, @events;
        return (!!1, length $text ? (on_bytes => $text) : ());
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
    my $code = defined $name && $self->{$name} or return;
    if ($self->{loop}) {
        EventSource::XS::ErrorLog->call_back({}, "EventSource::Client: $name died", $code, $self, @arguments);
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
    $SETTINGS->throw(state => "$method is for a client with on_event; without it, next reads as it is called");
    return;
}

# The callback about one thing that has happened, and its arguments; an empty list if nothing has.
sub _report {
    my $self   = shift;
    my $source = $self->{source};
    my $state  = $source->state;
    $self->_cut      if $self->{transport} && $state =~ /\A(?:closed|redirected|waiting)\z/;
    return 'on_open' if delete $self->{has_opened};
    my $error = $source->take_error;
    if ($error) {
        $self->{error}   = $error;
        $self->{failure} = $error if $state eq 'closed';
        return (on_error => $error);
    }
    return if $state ne 'closed' || @{$self->{queue}} || $self->{has_closed}++;
    delete $self->{timer};
    return (on_close => $self->{failure});
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

The client reads a stream as a browser does (WHATWG HTML, section 9.2). A program that blocks calls L</next>. One with an event
loop sets L</on_event>. These modules connect:

    next            IO::Socket::IP, with IO::Socket::SSL for https
    AnyEvent, EV    AnyEvent::HTTP, which alone uses the proxies of the environment
    Mojo::IOLoop    Mojo::UserAgent
    IO::Async       Net::Async::HTTP, with IO::Async::SSL for https

If the first address of a name does not answer, L</next> tries the second one after 250 ms, as RFC 8305 recommends. The other
modules wait for the dead address; Mojo::UserAgent gives up after 10 seconds, without a look at the second one. With them use a
name all of whose addresses answer.

Certificates are checked. In an event loop nothing that a server sends throws. A client buffers at most L</max_event> and a
megabyte. It ends with its last reference. A child of C<fork> must not use it, and a new ithread has none. Do not use L<EV>
with ithreads.

=head2 Reconnection

If L</reconnect> is true, a connection that fails, is cut, is silent for L</timeout> or ends is followed by another one to
L</url>, with the id as C<Last-Event-ID>, unless that has a control character other than a tab. The pause before it is the
C<retry> of the stream, or L</retry>: at least 0.25 s, at most a day. It doubles with each attempt that brings no event, up to
30 s, and is up to a quarter longer at random.

The status 204 ends the client. So does, with an error, any other than 200 (but L</retry_statuses>), and a type that is not
C<text/event-stream>.

=head2 Redirects

301, 302, 303, 307 and 308 are followed, at most 20 in a row: after 303, and for POST after 301 and 302, with GET and without
content. Redirects from C<https> to C<http>, and of a request with content to another origin, are an error. Another origin is
not sent the L</headers>, nor the name and the password of the URL.

=head1 METHODS

=head2 new

    my $client = EventSource::Client->new(url => $url, %options);

Make a client, also from a hash. Only L</url> is required. Throws an L<EventSource::Error>: C<invalid> with the option as its
field; C<unsupported> for C<on_event> without a library.

=head2 close

    $client->close;

End the connection for good. Events that were not yet delivered are dropped.

=head2 error

    my $error = $client->error;

Return the newest error, an L<EventSource::Error> without control characters, or C<undef>. Its codes:

    unavailable    no connection, it was cut or brings no HTTP, or the stream ended and the client reconnects
    timeout        the server has sent nothing for "timeout" seconds
    refused        the response is not an event stream, or a redirect is not followed ("status")
    invalid        an event has more bytes than "max_event", which is the field
    unsupported    there is no module for https

=head2 header, status

    my $value  = $client->header('X-Request-Id');
    my $status = $client->status;

Return a header of the newest response, several joined by C<, >, or its status, or C<undef>.

=head2 last_event_id

    my $id = $client->last_event_id;

Return the last event ID in characters, or an empty string. Events that were not yet delivered have moved it.

=head2 next

    my $event = $client->next($seconds);

Wait for the next event, and return it as L<EventSource::Parser/feed> does: a hash of C<event>, C<data> and C<id>, of a gap
(L<EventSource::Hub/gap_event>) with a true C<is_gap>. Returns C<undef> when the stream has ended, or when no event has come
for so many seconds (from 0, fractions allowed; for ever by default): L</state> tells which. A new connection can take ten
seconds more.

Throws the L</error> that has ended the client, once, after the events before it, and C<state> if the client has L</on_event>.
An exception of a signal's handler is thrown, too.

=head2 pause, resume

    $client->pause;
    $client->resume;

Read and deliver nothing until C<resume>; L</timeout> does not count. Throw C<state> without L</on_event>.

=head2 state

    my $state = $client->state;

Return C<connecting> (also in the pause), C<open> or C<closed>.

=head2 url

    my $url = $client->url;

Return the URL without name, password and fragment.

=head1 OPTIONS

C<undef> stands for the default.

=head2 content, json

    content => $bytes
    json    => {model => 'llama3.2', stream => \1, messages => \@messages}

The body of the request: bytes, or a value for JSON with its C<Content-Type>.

=head2 gap_event, position_event

The types of the hub's gaps and positions, C<gap> and C<position> by default. Positions without data are not delivered, nor is
the L<word of the hub|EventSource::Wire/THE WORD OF THE HUB>.

=head2 headers

    headers => [Authorization => 'Bearer secret']

Headers of the request, an array of names and values. They replace the client's C<Accept>, C<Accept-Encoding> (C<gzip>, if
L<Compress::Raw::Zlib> is there), C<Cache-Control> and C<User-Agent>.

=head2 last_event_id

The id after which to begin, one line of characters.

=head2 max_event

The most bytes of an event; more end the client. 1,048,576 by default.

=head2 method

In capitals; by default C<POST> with content, otherwise C<GET>.

=head2 on_event

    on_event => sub { my ($client, $event) = @_; ... }

Called with each event, as L</next> returns it. In an event loop an exception of a callback is a warning.

=head2 on_bytes, on_close, on_error, on_gap, on_open

    on_bytes => sub { my ($client, $bytes) = @_; ... }    # decoded, before they are parsed
    on_close => sub { my ($client, $error) = @_; ... }    # once, with an error if the client has failed
    on_error => sub { my ($client, $error) = @_; ... }    # if the state is connecting, the client tries again
    on_gap   => sub { my ($client, $event) = @_; ... }    # instead of on_event or a return from next
    on_open  => sub { my $client = shift; ... }           # the response is an event stream

These are also called in C<next>, where an exception reaches the caller.

=head2 reconnect

Whether to reconnect, by default for GET only. If false, the end of the response closes the client, and a cut is an error.

=head2 retry

The reconnection time until the stream sets one: whole milliseconds from 0, 1,000 by default.

=head2 retry_statuses

    retry_statuses => [429, 502, 503]

Statuses, 400 to 599, after which to reconnect, not before C<Retry-After>.

=head2 timeout

How many seconds a server may be silent, fractions allowed; 300 by default, 0 for ever. Give several of its keepalives.

=head2 url

An absolute URL of C<http> or C<https>. A name and a password in it are sent as C<Authorization>.

=head2 via

The library to load for the event loop: C<AnyEvent::HTTP>, C<Mojo::UserAgent> or C<Net::Async::HTTP>; by default the first of
these that is loaded.

=cut
