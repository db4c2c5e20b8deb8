package Plack::App::EventSource::Connection;
use strict;
use warnings;

# One client's open response, as the application sees it. It stands on a stream, such as EventSource::XS::Stream::Native, or
# on two callbacks of the application.

our $VERSION = '0.100';

use EventSource::Error;
use EventSource::Gone;
use EventSource::XS ();
use EventSource::XS::Settings;
use EventSource::XS::Stream::Child;
use EventSource::XS::Stream::HeldWorker;
use Scalar::Util qw(blessed reftype);

# The environment of the request whose handler runs.
our $request;    ## no critic (ProhibitPackageVars)

# The last event ID of a stream that is finished for good, and the event that says so. A hub has the same
# (src/hub/readers/ends.rs, src/hub/publishing/refusal.rs); t/hub/shared_rules.t compares them.
my $FINISHED = 'eventsource-finished';
my %FINISH   = (event => 'finish', data => 'finish');

# Seconds.
my $LOOK_INTERVAL = 1;

my $SETTINGS = EventSource::XS::Settings->new(__PACKAGE__);

# The arguments of the original give warnings at most.
my $LENIENT = EventSource::XS::Settings->new(__PACKAGE__, warns => 1);

my @ATTRIBUTES = qw(characters close_cb last_event_id push_cb stream);

# The members of one connection only: the callback of on_close is given another one with the same attributes.
my %IS_OWN = map { ($_ => 1) } qw(close_cb push_cb stream unwind);

sub new {
    my ($class, @given) = @_;
    my %given   = $LENIENT->parse('new takes attributes', @given);
    my %self    = map  { exists $given{$_} ? ($_ => delete $given{$_}) : () } @ATTRIBUTES;
    my @unknown = grep { /\A[A-Za-z][\w-]*\z/ } keys %given;
    $LENIENT->warn_unknown('unknown attribute', \@unknown, ['close_cb', 'push_cb']) if @unknown;
    $LENIENT->code($_ => $self{$_}) for qw(close_cb push_cb);
    return bless \%self, $class;
}

sub closed {
    my ($class, $stream, $attributes) = @_;
    return bless {$attributes ? %$attributes : (), stream => $stream, is_handle => 1}, $class;
}

# Public methods

sub buffered {
    my $self = shift;
    return $self->{stream} && $self->{stream}->can('buffered') ? $self->{stream}->buffered : 0;
}

sub close {
    my $self = shift;
    return $self->{close_cb}->()                                                           if defined $self->{close_cb};
    $SETTINGS->refuse(close_cb => 'there is no close_cb: give it to new, next to push_cb') if !$self->{stream};
    $self->{stream}->close;
    return;
}

# The process is a child that spawn has made.
sub enter_child {
    my $self = shift;
    $self->{child} = $$;
    ${$self->{unwind}} = $$ if $self->{unwind};
    return;
}

sub finish {
    my ($self, @given) = @_;
    my %given = $SETTINGS->parse('finish takes fields of an event', @given);
    $SETTINGS->known(\%given, [qw(data event retry)], 'field %s of finish');
    my $taken = $self->push({%FINISH, %given, id => $FINISHED});
    $self->close;
    return $taken;
}

sub finished_event { return $FINISH{event} }

sub finished_id { return $FINISHED }

sub is_native {
    my $self = shift;
    return !!($self->{stream} && $self->{stream}->is_native);
}

sub is_open {
    my $self = shift;
    EventSource::XS::Stream::HeldWorker->is_over if $EventSource::XS::Stream::HeldWorker::running;
    return $self->{stream} ? $self->{stream}->is_open : !!1;
}

sub last_event_id { return $_[0]{last_event_id} }

sub on_close {
    my ($self, $callback) = @_;
    $SETTINGS->refuse(callback => 'on_close takes a code reference') if ref $callback ne 'CODE';
    my $stream = $self->{stream}
        or EventSource::Error->throw(code => 'state', message => __PACKAGE__ . ': on_close needs a stream');

    # The stream holds the callback, and neither may hold the connection: releasing the connection may end the stream.
    my %attributes = map { $_ => $self->{$_} } grep { !$IS_OWN{$_} } keys %$self;
    $stream->on_close($callback, $self, %attributes ? \%attributes : ());
    return $self;
}

sub member {
    my ($self, $change) = @_;
    my ($hub, $channel, $id) = @{$self->{member} || []}
        or EventSource::Error->throw(
        code    => 'state',
        message => __PACKAGE__ . ': member: a hub has no member of this stream: give subscribe the option member'
        );
    return $hub->member($channel, $id, $change);
}

# The hash becomes the object, always one of this class: perl need not look it up.
sub of_stream { return bless $_[1] }    ## no critic (ProhibitOneArgBless)

# The original makes the connection of each stream by new, with two callbacks. An application that has put a sub of its own in
# the place of new, mostly around it, is called in the same way. Returns what that returns, for the handler. This connection is
# behind the callbacks, and with the last of them it is released.
sub through_new {
    my $self  = shift;
    my $given = __PACKAGE__->new(push_cb => sub { $self->push(@_) }, close_cb => sub { $self->close });
    %$given = (%$self, %$given, is_handle => 1)
        if blessed $given && $given->isa(__PACKAGE__) && reftype $given eq 'HASH';
    return $given;
}

# push itself is in src/xs. It handles native streams and calls _push_otherwise for all other connections.
*push = \&_push_otherwise if !__PACKAGE__->can('push');

# The hub has a member whose stream this is.
sub remember_member {
    my ($self, $hub, $member) = @_;
    $self->{member} = [$hub, $member->channel, $member->id];
    return;
}

sub spawn {
    my ($self, $code, @option) = @_;
    $SETTINGS->refuse(callback => 'spawn takes a code reference') if ref $code ne 'CODE';
    my %option = EventSource::XS::Stream::Child->check($SETTINGS->parse('spawn takes options', @option));
    my $never  = EventSource::XS::Stream::Child->obstacle_of($self->{stream});
    my $obstacle =
          defined $never                 ? $never
        : $self->{stream}->is_subscribed ? 'the stream is subscribed to a hub, which would go on to write to it'
        :                                  undef;
    EventSource::Error->throw(code => 'state', message => __PACKAGE__ . ": spawn: $obstacle") if defined $obstacle;
    return !!0 if !$self->{stream}->is_open;
    return EventSource::XS::Stream::Child->start($self, $code, %option,
        errors => $request && $request->{'psgi.errors'} || \*STDERR);
}

sub stream { return $_[0]{stream} }

sub wait {
    my ($self, $handle, $seconds) = @_;
    my $stream = $self->{stream}
        or EventSource::Error->throw(code => 'state', message => __PACKAGE__ . ': wait needs a stream');
    $SETTINGS->refuse(handle => 'wait takes an open handle with a descriptor, or undef')
        if defined $handle && !_is_open_handle($handle);
    $SETTINGS->seconds(seconds => $seconds);
    EventSource::Error->throw(
        code    => 'state',
        message => __PACKAGE__ . ': wait would stop the event loop: call it in a spawned handler'
    ) if !$stream->is_blocking && ($self->{child} || 0) != $$;
    my $has_bytes = blessed $handle && $handle->can('pending') && $handle->pending;    # decrypted, or read ahead
    my $event     = _wait($stream, $handle, $has_bytes ? 0 : $seconds);
    return $has_bytes && $event eq 'timeout' ? 'readable' : $event;
}

# Private methods and functions

sub _is_open_handle {
    my $handle = shift;
    local $SIG{__DIE__};
    my $number = eval { fileno $handle };
    return defined $number && $number >= 0;
}

# The result of a push to a client that has disconnected: false, or an exception that ends the handler, if the application
# wants that.
sub _not_taken {
    my $self = shift;
    die EventSource::Gone->new if $self->{unwind} && ${$self->{unwind}} == $$;
    EventSource::XS::Stream::HeldWorker->see_refusal($self->{stream});
    return !!0;
}

sub _push_otherwise {
    my $self = shift;
    return $self->{push_cb}->(@_) if defined $self->{push_cb};
    my $stream = $self->{stream};
    $SETTINGS->refuse(push_cb => 'there is no push_cb: give it to new, next to close_cb') if !$stream;
    my $is_lf     = $stream->can('is_lf')         && $stream->is_lf;
    my $is_in_hub = $stream->can('is_subscribed') && $stream->is_subscribed;
    my $bytes =
          $is_lf && $is_in_hub ? EventSource::XS::_push_bytes_lf_in_hub($self->{characters}, @_)
        : $is_lf               ? EventSource::XS::_push_bytes_lf($self->{characters}, @_)
        : $is_in_hub           ? EventSource::XS::_push_bytes_in_hub($self->{characters}, @_)
        :                        EventSource::XS::_push_bytes($self->{characters}, @_);
    local $EventSource::XS::is_pushing = 1;    # the writer may run handlers of signals
    return $stream->write($bytes) ? !!1 : $self->_not_taken;
}

# A handler that holds its worker looks now and then whether that is to end.
sub _wait {
    my ($stream, $handle, $seconds) = @_;
    while ($EventSource::XS::Stream::HeldWorker::running && (!defined $seconds || $seconds > $LOOK_INTERVAL)) {
        my $event = $stream->wait($handle, $LOOK_INTERVAL);
        return $event              if $event ne 'timeout';
        return 'gone'              if EventSource::XS::Stream::HeldWorker->is_over;
        $seconds -= $LOOK_INTERVAL if defined $seconds;
    }
    return $stream->wait($handle, $seconds);
}

# The server's writer has thrown an exception in a push.
sub _writer_died {
    my ($self, $stream, $exception) = @_;
    $stream->writer_died($exception);
    return $self->_not_taken;
}

sub DESTROY {
    my $self = shift;
    local ($@, $!, $?);
    $self->{stream}->drop if $self->{stream} && !$self->{is_handle};
    return;
}

1;
__END__

=encoding utf8

=head1 NAME

Plack::App::EventSource::Connection - One client's open stream

=head1 SYNOPSIS

    use Plack::App::EventSource;

    my $app = Plack::App::EventSource->new(
        handler_cb => sub {
            my ($conn, $env) = @_;
            $conn->on_close(sub { my ($conn, $reason) = @_; print "ended by the $reason\n" });
            my $number = $conn->last_event_id || 0;
            while ($number < 3) {
                $conn->push({id => ++$number, data => "event $number"}) or last;
            }
            $conn->close;
        },
    )->to_app;

=head1 DESCRIPTION

The callback L<Plack::App::EventSource/handler_cb> receives an object of this class: the response to one client, open
for events.

=head1 METHODS

=head2 new

    my $conn = Plack::App::EventSource::Connection->new(push_cb => sub { my @messages = @_; ... }, close_cb => sub { ... });

Create a connection on two callbacks, for a test of a handler. L</push> and L</close> call them with their own arguments
and return their results. Such a connection is always open, has no last event ID, and its L</on_close> throws an
exception. Warns of an unknown attribute, and of a callback that is not code, once for each line of the application. L</push>
throws C<invalid> if C<push_cb> is missing, L</close> if C<close_cb> is.

The connections of real streams are created by L<Plack::App::EventSource>. If the application has put a sub of its own in the
place of C<new>, mostly around it, that is called for each stream, with both callbacks, and the handler is given what it
returns. A connection that it returns has all methods of its stream.

=head2 buffered

    my $bytes = $conn->buffered;

Return the number of bytes that are buffered for the client of a native stream, including the head, comments and
framing; and for a stream that follows a hub, what the hub has not sent to the server's writer. Returns 0 for any other
stream: a server does not say what it buffers.

=head2 close

    $conn->close;

End the stream when all pushed events have been sent.

A browser reconnects after every end of a stream, after its reconnection time (C<retry>, some three seconds by
default), and sends the id of the last event (WHATWG HTML, section 9.2.3). The handler then runs again. If it closes each
time, the client reconnects for ever. To end a stream for good, call L</finish>.

=head2 closed

    my $conn = Plack::App::EventSource::Connection->closed($stream, \%attributes);

Create a connection for a callback of L</on_close>, where the application has released the original one.

=head2 finish

    my $is_open = $conn->finish;
    my $is_open = $conn->finish(event => 'finish', data => 'finish');

End the stream for good: send a last event and L</close>. The standard has no event that ends a stream. A browser stops
reconnecting if the page closes its C<EventSource>, or if a response has another status than 200. C<finish> makes use of
both:

=over

=item *

The event has a type of the application's choice, C<finish> by default, so that the page can listen for it:

    const source = new EventSource('/events');
    source.onmessage = event => show(event.data);
    source.addEventListener('finish', () => source.close());

=item *

The event has the id C<eventsource-finished>. A client that does not listen reconnects with that id, and
L<Plack::App::EventSource> answers with the status 204 instead of running the handler. The browser then closes its
C<EventSource> (WHATWG HTML, section 9.2.3). No state is kept, so this holds in every worker and after a restart.

=back

The arguments are fields of the event, as names and values or in a hash: C<event>, C<data> and C<retry>. Returns what
L</push> returns. Throws C<invalid> for other fields, and what C<push> throws. A page that is loaded again begins a new
stream.

=head2 finished_event

    my $type = Plack::App::EventSource::Connection->finished_event;

Return the default type of the event of L</finish>: C<finish>.

=head2 finished_id

    my $id = Plack::App::EventSource::Connection->finished_id;

Return the id of L</finish>: C<eventsource-finished>. An application gives no other event this id; a hub
refuses it.

=head2 is_native

    my $bool = $conn->is_native;

Return true if the stream was taken over from the server (L<Plack::App::EventSource/native>).

=head2 is_open

    my $bool = $conn->is_open;

Return false once the stream was closed or its client is seen to have disconnected. If a client vanishes without closing
its connection (its cable is pulled, for example), the stream stays open until L<Plack::App::EventSource/timeout>.

=head2 last_event_id

    my $id = $conn->last_event_id;

Return the C<Last-Event-ID> that the client sent, as characters: after a reconnect, the id of the last event that it
received (WHATWG HTML, section 9.2.4). Polyfills send it as a parameter of the query instead: C<last_event_id>,
C<lastEventId> or C<evs_last_event_id>, the first of them that is not empty, within the first 8,192 bytes of the query.
C<undef> if it sent none. The client may send any string, of which at most 1,025 bytes are returned: no event has an id of
more than 1,024. An id that is not UTF-8 is returned as its bytes.

=head2 member

    my $is_here = $conn->member({json => {name => 'Ann', typing => \1}});

Change the data of the member that the last C<subscribe> or C<serve> of a hub has given the stream, as
L<EventSource::Hub/member> does. Throws C<state> if there is none.

=head2 on_close

    $conn->on_close(sub { my ($conn, $reason) = @_; ... });

Call a callback once when the stream has ended, with the connection, to which nothing can be pushed any more, and the
reason:

=over

=item C<client>

The client disconnected.

=item C<slow>

More was buffered for the client than L<Plack::App::EventSource/max_buffered>.

=item C<timeout>

The client neither read nor acknowledged anything for L<Plack::App::EventSource/timeout>.

=item C<error>

The handler or a push died, or the system refused the stream.

=item C<server>

The process ends.

=item C<application>

The application closed the stream or released the connection.

=back

Callbacks never run inside C<push>. L<EventSource::XS/WHEN CALLBACKS RUN> says when they run. In an idle worker of a
server that blocks that may be late, unless the application asks for a signal (L<EventSource::XS/notify_signal>).

The callback receives the connection on which L</on_close> was called, if the application still holds it, so
C<delete $readers{$conn}> finds it. Otherwise it receives one like it. Use that argument: a callback that closes over
another reference to the connection keeps the stream open, as any reference does, until its client disconnects or the
stream is closed.

Returns the connection. Throws an L<EventSource::Error> with the code C<invalid> if the argument is not a code
reference, and C<state> if the connection has no stream.

=head2 push

    my $is_open = $conn->push('text');
    my $is_open = $conn->push('three', 'lines', 'of one event');
    my $is_open = $conn->push({event => $name, id => $id, data => $data, retry => $milliseconds});
    my $is_open = $conn->push({json => $structure, comment => $note});
    my $is_open = $conn->push({data => $utf8, bytes => 1});

Send all messages of one call as one event (WHATWG HTML, section 9.2.5). A string is data, and so is each element of a
referenced array. A reference to a hash has fields, which are sent in the order C<comment>, C<event>, C<id>, C<data>,
C<retry>; those that are undefined are left out. C<data> is a string, or a reference to an array of strings; C<json>
takes its place, and C<bytes> holds for the strings of its hash, as in L<EventSource::XS/format_event>. A message that is
undefined is empty data, a hash without any field a blank line. An event ends with a blank line; a comment alone has none,
because some clients report an empty event for it (L<EventSource::Clients>). Each line of data becomes a C<data:> line; lines
end in CRLF, or as L<Plack::App::EventSource/line_end> says. For characters and bytes see L<Plack::App::EventSource/characters>.

An unknown field is ignored, with a warning that names the nearest known one, once for each line of the application. So is
a push warned of that looks like names and values without a hash: C<< push(data => $text) >> sends two lines of data.

Returns true if the stream accepted the event, and false if its client has disconnected. With
L<Plack::App::EventSource/on_gone> it throws an L<EventSource::Gone> instead. On servers that block it waits for a slow
client (L<Plack::App::EventSource/on_full>). A signal may interrupt that: if the application's C<$SIG{ALRM}> dies, the
push rethrows that exception, and the stream ends, because part of the event may have been sent.

A reference other than an object with overloading (or, for data, an array) is sent as perl shows it, as C<HASH(0x...)> for
example, with a warning.

If it throws an L<EventSource::Error>, nothing was sent. It throws C<invalid> if C<event>, C<id> or C<retry> has a line
break or NUL, if C<json> is given beside C<data> or C<bytes>, or cannot be encoded, and if C<bytes> is true and a string is
not UTF-8. On a stream that is subscribed to channels of an L<EventSource::Hub>, it also throws C<invalid> if C<id> is one
that the hub would refuse (L<EventSource::Hub/Order, resume, gaps>). For the hub, an id that is pushed is
unknown: a client that reconnects with it receives a C<gap> event.

=head2 spawn

    my $pid = $conn->spawn(sub { my ($conn) = @_; ... });
    my $pid = $conn->spawn($code, max_children => 100, grace => 5);

Run C<$code> with the connection in a child process, and return its process id at once, or C<later> (see below). The worker is
free for other requests. This is for handlers that take long: that loop, sleep, or read from a slow source.

    handler_cb => sub {
        my ($conn) = @_;
        $conn->spawn(sub {
            my ($conn) = @_;
            open my $log, '-|', 'tail', '-F', '/var/log/syslog' or die "tail: $!\n";
            while (my $line = <$log>) { $conn->push($line) }
        });
    },

From then on the stream is the child's. Here the connection is no longer open, and C<push> returns false. What was pushed
before is sent first. The stream ends when C<$code> returns, exits or dies, or when the child is killed. An exception is
printed to C<psgi.errors>; called outside of a handler, to C<STDERR>.

The child ends when its client disconnects or its stream fails: it is sent SIGTERM, and SIGKILL after C<grace> seconds
(fractions allowed; 5 by default). It also ends with its worker, however that ends. A native thread of the child does
this, whatever the child waits for. C<$SIG{TERM}> of the child may clean up. The child leads a process group, which is
sent the same signals, so commands that it runs end too. C<$code> must not C<exec> another program in its own process: that
has no such thread, and nothing ends it. Run it with C<system> or a pipe. Nor does a child end that is stopped (SIGSTOP).

The child begins with the default for all signals but SIGPIPE, which it ignores, and with other random numbers. It runs no
C<END> blocks and no destructors of the worker, not even after C<exit>. Buffered output of handles other than C<STDOUT>
and C<STDERR> must be flushed by C<$code>. The child is not a child of the worker: nothing has to be reaped, and handlers of
SIGCHLD have no process to reap. In a container run an init that reaps orphans (C<docker run --init>).

What else the worker has, the child does not share:

=over

=item *

Its streams and the connections of its other clients: in the child they are closed, and a push to them returns false.

=item *

Its hubs without a name: publishing and subscribing in the child throws the error C<state>. To a named hub
(L<EventSource::Hub/name>) the child publishes as every process does, so it reaches other clients, and a client that comes back
resumes from the history. Mind that the child ends when its own client leaves.

=item *

Children: C<spawn> in a child throws C<state>.

=item *

Handles of databases and files, which are shared, but must not be used by both processes, as after any C<fork>. Connect
to the database in C<$code>.

=back

Callbacks of L</on_close> that were registered before run in the worker when the child has ended, with the reason for which
the child's stream has ended: C<client>, C<application>, C<error> (also if the child was killed, or has called C<exit>
under uWSGI), and so on. Those that the child registers run in the child, if C<$code> returns. In
L<EventSource::XS/stats> the worker counts the child as a native stream.

Returns false, and starts no child, if the client has left or does not read what was pushed before, if C<max_children>
children of this worker run already (a whole number from 1; 100 by default), or if the system refuses a process. The stream
then stays the handler's:

    $conn->spawn($code) or $conn->push({event => 'busy', retry => 10_000, data => 'come back'});

For all but the client the worker warns, once for each reason. Throws an L<EventSource::Error>: C<invalid> for a wrong
argument; C<state> if the stream is not native (L</is_native>), if it is subscribed to a hub, if this process is a spawned
child, or if the server has several threads (C<psgi.multithread>: uWSGI with C<threads>).

Feersum sends the head of the response after the handler, so there the child begins when the head and what was pushed before
have been sent. Until then there is no process id: C<spawn> returns the string C<later>, which is true, and which perl's
C<kill> refuses. The stream is the child's from then on as well, and the child counts for C<max_children>. If the client
leaves before, C<$code> does not run. If the child cannot be started then, the stream ends with the reason C<error>, so a
browser reconnects, and the worker warns. Called from a timer when the head has been sent, C<spawn> returns the process id.

Where a server has threads, one of them may hold a lock of perl's own while another one forks, and the child would wait for it
for ever. Give uWSGI C<workers> instead. A child that has not begun after 10 seconds is killed, and C<spawn> returns false.

=head2 stream

    my $stream = $conn->stream;

Return the stream, an internal object, or C<undef> for a connection on two callbacks.

=head2 wait

    my $what = $conn->wait($handle, $seconds);
    my $what = $conn->wait(undef, 0.5);

Wait until something happens, and return what:

=over

=item C<readable>

The handle is readable, or at its end. Read with C<sysread>: bytes that perl has buffered already do not count. Bytes
that a handle of L<IO::Socket::SSL> has decrypted already (C<pending>) do. Such a handle may also be readable for a record
that has no data: set it to non-blocking mode.

=item C<gone>

The stream has ended, mostly because its client has left.

=item C<timeout>

So many seconds have passed. Fractions are allowed. With C<undef>, the default, this does not happen.

=back

The handle may be C<undef>. If several things have happened, the first of this order is returned: C<gone>, C<readable>,
C<timeout>. Handlers of signals and queued callbacks run meanwhile. They may close the handle: then it is at its end. C<wait>
is for handlers of servers that block, and for children (L</spawn>), which are sent SIGTERM when the client disconnects: a
child that wants to see C<gone> sets C<$SIG{TERM}>.

    $SIG{TERM} = 'IGNORE';    # in the child; SIGKILL comes after the grace
    while ((my $what = $conn->wait($socket, 30)) ne 'gone') {
        if ($what eq 'timeout') { $conn->push({event => 'idle', data => time}); next }
        sysread $socket, my $bytes, 65_536 or last;
        $conn->push($bytes);
    }

Throws an L<EventSource::Error>: C<invalid> for a closed handle, for one without a descriptor, or for a wrong number;
C<state> in an event loop, which it would stop, and if the connection has no stream.

=head1 SEE ALSO

L<Plack::App::EventSource>, L<EventSource::Gone>, L<EventSource::Hub/subscribe>

=cut
