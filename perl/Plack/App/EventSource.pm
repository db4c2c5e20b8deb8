package Plack::App::EventSource;
use strict;
use warnings;

# A drop-in for the module of this name: a request becomes a stream, and the application's handler runs over it.

our $VERSION = '0.100';

use parent 'Plack::Component';
use Carp qw(croak);
use EventSource::Stream;
use EventSource::Stream::WorkerRecycling;
use EventSource::XS ();
use Plack::App::EventSource::Connection;
use Plack::Util::Accessor qw(
    characters handler_cb headers keepalive linger max_buffered max_streams native on_gone on_full preamble retry timeout
);
use Scalar::Util qw(blessed);

# What a stream is told of these.
my @SETTINGS = qw(keepalive linger max_buffered max_streams native on_full retry timeout);

# Public methods

sub call {
    my ($self, $env) = @_;
    EventSource::XS->dispatch;
    return [405, [], ['Method not allowed']] if $env->{REQUEST_METHOD} ne 'GET';
    $self->_check_options;
    croak 'Plack::App::EventSource: there is no handler_cb' if !$self->handler_cb;
    my $why = $self->_must_be_native ? EventSource::Stream->obstacle($env) : undef;
    croak "Plack::App::EventSource: the stream cannot be native: $why" if defined $why;
    return sub {
        my $respond  = shift;
        my %settings = map { ($_ => $self->$_) } @SETTINGS;
        my ($stream, $trouble) =
            EventSource::Stream->open($env, $respond, [200, $self->_response_headers], $self->_opening, %settings);
        if ($self->_must_be_native && defined $trouble) {
            _end_badly($stream, $env, 'the stream cannot be native', $trouble, $$);
        }
        elsif ($stream->is_open) { $self->_handle($stream, $env) }
        return;
    };
}

sub prepare_app {
    my $self = shift;
    $self->_check_options;
    return;
}

# Private methods

sub _check_options {
    my $self = shift;
    my ($on_gone, $preamble, $retry) = map { $self->$_ } qw(on_gone preamble retry);
    croak "Plack::App::EventSource: on_gone must be undef or 'unwind'" if defined $on_gone && $on_gone ne 'unwind';
    my @retry = ref $retry eq 'ARRAY' ? @$retry : defined $retry ? ($retry, $retry) : (0, 0);
    croak 'Plack::App::EventSource: retry must be a whole number of milliseconds, or two of them'
        if @retry != 2 || grep { !defined || !/\A[0-9]{1,15}\z/ } @retry;
    EventSource::Stream->check(map { ($_ => $self->$_) } @SETTINGS);
    croak 'Plack::App::EventSource: preamble must be a number of bytes from 3 to 65536, or 0'
        if $preamble && ($preamble !~ /\A[0-9]+\z/ || $preamble < 3 || $preamble > 65_536);
    return;
}

# The handler has died, and its head is out. No server can make a response of that: some would end the process with all
# its streams, some write a second head into this one, some leave it open. In a child that the handler has forked there
# is no server to go back to.
sub _end_badly {
    my ($stream, $env, $what, $trouble, $process) = @_;
    die $trouble if $$ != $process;
    $stream->can('end') ? $stream->end('error') : $stream->close('error');
    my $text = eval { "$trouble" };
    $text = 'of a ' . ref($trouble) . ' that cannot be made a string' if !defined $text;
    utf8::encode($text) if $text =~ /[^\x00-\xFF]/;
    chomp $text;
    $env->{'psgi.errors'}->print("Plack::App::EventSource: $what: $text\n");
    return;
}

# Runs the handler over a stream that has begun.
sub _handle {
    my ($self, $stream, $env) = @_;

    # What a push may unwind to: this call, as long as it runs, in this process.
    my $unwind     = $self->on_gone && $stream->is_blocking ? $$ : 0;
    my $process    = $$;
    my $id         = _last_event_id($env);
    my $connection = Plack::App::EventSource::Connection->new(
        stream => $stream,
        ($self->characters ? (characters    => 1)        : ()),
        (defined $id       ? (last_event_id => $id)      : ()),
        ($unwind           ? (unwind        => \$unwind) : ()),
    );
    $stream->enter_handler;
    my $handled = eval { $self->handler_cb->($connection, $env); 1 };
    my $trouble = $@;
    $unwind = 0;
    $stream->leave_handler;
    my $is_gone = !$handled && blessed $trouble && eval { $trouble->isa('EventSource::Gone') };
    _end_badly($stream, $env, 'the handler died', $trouble, $process) if !$handled && !$is_gone;
    undef $connection;
    return if !$stream->is_blocking;
    $stream->settle;
    EventSource::Stream::WorkerRecycling->warn_once($env) if $stream->can('is_native') && $stream->is_open;
    EventSource::XS->dispatch;
    return;
}

# Streams that end together are not to come back together.
sub _jittered {
    my $retry = shift;
    my ($least, $most) = ref $retry ? @$retry : ($retry, $retry + int $retry / 5);
    return $least + int rand $most - $least + 1;
}

# The Last-Event-ID that the client sent, as characters. It is the client's word: any string.
sub _last_event_id {
    my $id = $_[0]{HTTP_LAST_EVENT_ID};
    utf8::decode($id) if defined $id;
    return $id;
}

# What is sent before the first event, if anything: padding for proxies and polyfills that hold back the first bytes, and
# the reconnection time.
sub _opening {
    my $self    = shift;
    my $opening = '';
    $opening .= ':' . ' ' x ($self->preamble - 3) . "\r\n"       if $self->preamble;
    $opening .= 'retry: ' . _jittered($self->retry) . "\r\n\r\n" if defined $self->retry;
    return $opening;
}

sub _must_be_native {
    my $native = shift->native;
    return defined $native && $native eq '1';
}

sub _response_headers {
    my $self    = shift;
    my @headers = @{$self->headers || []};
    my @own     = (
        'Content-Type'                 => 'text/event-stream; charset=UTF-8',
        'Cache-Control'                => 'no-store, no-cache, must-revalidate, max-age=0',
        'Access-Control-Allow-Methods' => 'GET',
    );
    my $has_buffering = grep { !($_ % 2) && lc $headers[$_] eq 'x-accel-buffering' } 0 .. $#headers;
    push @own, 'X-Accel-Buffering' => 'no' if !$has_buffering;
    return [@own, @headers];
}

1;
__END__

=encoding utf8

=head1 NAME

Plack::App::EventSource - Server-sent events in a Plack application

=head1 SYNOPSIS

    use Plack::App::EventSource;
    use Plack::Builder;

    builder {
        mount '/events' => Plack::App::EventSource->new(
            handler_cb => sub {
                my ($conn, $env) = @_;
                $conn->push('hello');
                $conn->push({id => 1, event => 'tick', data => "two\nlines"});
                $conn->close;
            },
            headers => ['Access-Control-Allow-Origin' => 'http://localhost:5000'],
        )->to_app;
        mount '/' => sub { [200, ['Content-Type' => 'text/plain'], ['see /events']] };
    };

=head1 DESCRIPTION

A drop-in for the module of this name: an application that uses it goes on as it is, with its bytes formatted natively
and with clients that have left noticed. It is a L<Plack::Component>: subclass it, change its attributes at any time.

It runs on any PSGI server with C<psgi.streaming>. Where it can it takes the stream over from the server
(L</native>): then a handler that keeps its connection and returns leaves its worker free, and one worker holds
thousands of streams.

    my %readers;
    my $news = Plack::App::EventSource->new(
        handler_cb => sub {
            my ($conn) = @_;
            $readers{$conn} = $conn;
            $conn->on_close(sub { my ($conn) = @_; delete $readers{$conn} });
        },
    );
    my $publish = sub { $_->push('news') for values %readers; [204, [], []] };

On servers with an event loop (Twiggy, Feersum) the handler returns at once and pushes later, from timers and watchers; a
stream stays open until its client leaves or the application closes it. On the others the handler may also loop, sleep
and push; it keeps its worker as long as it runs, and the stream ends when the last reference to the connection is gone.

A request that is not a GET is answered with 405.

=head1 ATTRIBUTES

=head2 characters

    characters => 1

Says that what is pushed are strings of characters, all of which are encoded. Unless it is true, as by default, each
field that is valid UTF-8 when taken as bytes is sent as it is (ASCII always is), and any other is encoded: callers of
this module have always passed both.

=head2 handler_cb

    handler_cb => sub { my ($conn, $env) = @_; ... }

Called for each stream, with its L<Plack::App::EventSource::Connection> and the PSGI environment. It has to be given: a
GET croaks without it. If it dies the stream ends, and the exception is written to C<psgi.errors>: the head of the
response is out, so no server could answer with an error.

It runs when the server asks for the stream, after C<call>: what middleware changes in the environment for the time of a
call only, as C<mount> does with C<SCRIPT_NAME> and C<PATH_INFO>, has been put back by then. So it was with the
original.

=head2 headers

    headers => ['Access-Control-Allow-Origin' => 'http://localhost:5000']

More headers of the response, none by default, sent after C<Content-Type>, C<Cache-Control>,
C<Access-Control-Allow-Methods> and C<X-Accel-Buffering: no>. The last asks nginx not to hold events back; it is left
out if it is given here.

=head2 keepalive

    keepalive => 15

A comment is sent after that many seconds of quiet, and a sixteenth more at most; fractions are allowed, 0 sends none.
15 by default. It keeps proxies from ending the stream, and finds clients that are gone without a word. Native streams have
it everywhere, others under an event loop (after half as many seconds more at most).

=head2 linger

    linger => 2

How many seconds the end of the process waits for native streams; fractions are allowed. Each client is first sent a
C<retry> between the L</retry> that is set, or two seconds, and twice that; streams then end one after the other, over
half of the time at most, so that clients do not all come back at once. What has not been sent when the time is up is
lost, and counted. If applications of one process differ, the longest counts. This happens where C<END> blocks run,
and on uWSGI, which runs none: after an exit, an exception, or a signal that the server handles, not after C<kill -9>.

=head2 max_buffered

    max_buffered => 4_194_304

How many bytes may wait for the client of a native stream, a whole number from 1; 4 MiB by default. A single event may be
larger. What happens when more would wait L</on_full> says. Besides, the kernel holds some 256 KiB for a client
that takes nothing, on TCP. Under Feersum the limit counts from the moment at which the head
of the response is out: before that the client cannot read, so a handler may push any amount.

=head2 max_streams

    max_streams => 10_000

How many native streams a process may hold. A client that comes when it holds so many is answered with 200, a C<retry> of
its own and the end of the stream, and its handler is not run: a browser comes back later, while it would give up for
good on an error. By default the soft limit of descriptors (C<ulimit -n>), less 256, or less a quarter of it if that is
fewer.

Whatever the number, an eighth of the descriptors, but not more than 128, stays free for the application and its server. A
client that comes when fewer are left is answered in the same way, also under an event loop if its stream is not native, and
its socket is closed at once; else an ended stream's socket stays open for two seconds, unless its client closes it.

=head2 native

    native => 'auto'

Whether streams are taken over from the server: C<auto>, by default, where it can be; 0 never; 1 always, and where it
cannot be a GET croaks or, if that shows only when the head is out, its stream ends and C<psgi.errors> says why. A client
that has left already is no error: its handler does not run. See L</NATIVE STREAMS>.

=head2 on_gone

    on_gone => 'unwind'

What a push to a client that has left does. By default it returns false, so that a job that reports its progress runs to
its end. With C<unwind> it dies with an L<EventSource::Gone>, which this application catches: a handler that pushes in
an endless loop then ends, and its worker is free. Only where the server blocks, only while the connection's own handler
runs, and never in a child that it has forked.

=head2 on_full

    on_full => 'block'

What a push to a native stream does when more would wait than L</max_buffered>:

=over

=item C<block>

It waits for the client, as with a server's writer: the default. Signals run their handlers meanwhile. Only a handler on a
server that blocks waits, for its own connection, as long as it runs. Any other push never waits, and disconnects.

=item C<disconnect>

It ends the stream, and returns false. Of what waited the client's socket is sent what it still takes, and the rest is lost;
the client comes back and says what it has received last. What the writing thread has not tried to send yet counts for
nothing: a burst is no slow client.

=item C<drop_oldest>

It is taken, and the oldest events are dropped to make room, never one that is partly sent.

=back

=head2 preamble

    preamble => 2048

Sends a comment of that many bytes first, from 3 to 65,536; 0 sends none, and so does the default. Old proxies and
polyfills hold back a response until they have seen some 2 KB of it.

=head2 retry

    retry => 5000
    retry => [5000, 20_000]

Sends the reconnection time first, in whole milliseconds from 0; not sent by default. Each client gets a time of its own,
so that those who lose their streams together do not come back together: up to a fifth more than the number, or a time
between two that are given.

=head2 timeout

    timeout => 60

After how many seconds the client of a native stream counts as gone that takes nothing of what waits for it, or
acknowledges nothing; fractions are allowed. 60 by default.

=head1 METHODS

=head2 new

    my $component = Plack::App::EventSource->new(handler_cb => $code, %attributes);

Takes attributes as names and values, or as a reference to a hash.

=head2 to_app

    my $app = $component->to_app;

The PSGI application. Croaks if an attribute has a value that it cannot have; a value that is set later makes the next
GET croak.

=head2 call, prepare_app

What L<Plack::Component> asks for; a subclass may wrap them.

=head1 NATIVE STREAMS

A native stream is written by a thread of the process, next to the interpreter. A push hands it the event and returns;
the client's leaving is seen when it happens; slow clients are bounded. The worker that answered the request is free when
the handler returns.

Streams are native on HTTP::Server::PSGI (plackup), Starman, Starlet, Twiggy, Feersum and uWSGI, on Linux. They go
through the server's writer, as they always have, over TLS (let a proxy in front do that), under FastCGI and CGI, where
middleware filters the body (Deflater, SimpleContentFilter, AccessLog::Timed), and on uWSGI with threads. C<< $conn->is_native >> tells; with
C<EVENTSOURCE_XS_DEBUG=1> in the environment each stream says to C<psgi.errors> which it is, and why.

The client does not choose: the version and the headers of its request do not decide whether its stream is native. There
are two exceptions, and you can close both. Deflater filters the body if the client sends C<Accept-Encoding>: give Deflater
a C<content_type> without C<text/event-stream>. L<Plack::Middleware::Chunked> filters the body if the client says HTTP/1.1:
leave it out, for servers make chunks themselves.

What is different with a native stream: the connection is closed at its end (C<Connection: close>), and requests that a
client has sent behind the stream's are not answered, and start no stream; the server's access log, C<psgix.cleanup> and graceful stop do not wait for
its end; a worker that the server recycles ends its streams, after it has told their clients when to come back. So raise
C<--max-requests> (Starman), C<--max-reqs-per-child> (Starlet) or C<max-requests> (uWSGI): a worker says so once if that
number is low (L<EventSource::Stream::WorkerRecycling>).

=head1 DIFFERENCES

From the original it differs where that module breaks a stream or loses it:

=over

=item *

A line break in pushed data makes two C<data:> lines. There it ends the line, and what follows is a field of its own.

=item *

A line break or NUL in C<event>, C<id> or C<retry> croaks, and nothing is sent. There it injects fields.

=item *

Text that is not UTF-8 as bytes is encoded. There wide characters kill the connection or reach the browser as garbage.

=item *

C<X-Accel-Buffering: no> is sent, unless C<headers> has it.

=item *

C<data> of a pushed hash may be a reference to an array of strings, and so may a message; there they are sent as
C<ARRAY(0x...)>.

=item *

A push to a client that has left returns false, on every server. There it is true, or what the server returns, on most.

=item *

A client that closes its sending side counts as one that has left. There it goes on being written to.

=item *

If the server's writer dies while the client is still there, of a signal's handler or a filter of the body, the push dies
of that, and the stream ends. There every such exception is swallowed.

=item *

A connection whose last reference is gone is closed where the server blocks. There it is left to the server: Starman
lets an HTTP/1.1 client wait for its keep-alive timeout.

=item *

An exception in the handler ends its stream and is written to C<psgi.errors>. There it ends the process on some servers,
and leaves the response open on others.

=item *

On uWSGI the head is sent at once. There the client waits for the first event.

=item *

A comment is sent after 15 seconds of quiet (L</keepalive>), and to find out whether the body is filtered, where it is.

=item *

Under an event loop a client for which more than 4 MiB waits is disconnected (L</max_buffered>). There it may cost any
amount of memory.

=item *

A connection is freed when the application lets go of it. There a cycle of references in each stream keeps it for ever.

=back

=head1 UNDER FEERSUM

Do not fetch C<psgix.io>, and do not copy the environment, after the response: under Feersum that takes over a descriptor
which the server closes as well, and other responses may suffer. Before it responds this application takes C<psgix.io>
out of the environment, so that its handler may copy it, and repairs what middleware has done by copying it before; if
middleware has closed the handle too, the stream goes through the server's writer.

=head1 BEHIND NGINX

    location /events {
        proxy_pass http://127.0.0.1:5000;
        proxy_http_version 1.1;
        proxy_set_header Connection '';
        proxy_read_timeout 1h;
    }

Buffering of events needs no setting: C<X-Accel-Buffering: no> turns it off.

Put nginx, or another proxy that reads a request before it passes it on, in front of Starman. Starman ends a worker whose
client sends a body that is shorter than its C<Content-Length>; this happens to any application, and all streams of that
worker end with it. Keep nginx's C<proxy_request_buffering> at C<on>, its default, for every location of that server: nginx
then passes on a request when its body is complete. C<client_body_timeout> (60 seconds by default) bounds the time that nginx
waits for more of a body.

=head1 SEE ALSO

L<Plack::App::EventSource::Connection>, L<EventSource::XS>

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
