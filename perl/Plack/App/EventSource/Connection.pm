package Plack::App::EventSource::Connection;
use strict;
use warnings;

# One client's open response, as the application sees it. It stands on a stream, such as EventSource::XS::Stream::Native, or
# on two callbacks of the application.

our $VERSION = '0.100';

use EventSource::Gone;
use EventSource::XS ();
use EventSource::XS::Adapter;
use EventSource::XS::Settings;
use EventSource::XS::Stream::Child;
use EventSource::XS::Stream::BusyWorker;
use Scalar::Util qw(blessed reftype);

# The environment of the request whose handler runs.
our $request;    ## no critic (ProhibitPackageVars)

# The last event ID of a stream that is finished for good, and the event that says so. A hub has the same
# (src/hub/readers/mod.rs, src/hub/sequence.rs); t/hub/shared_rules.t compares them.
my $FINISHED = 'eventsource-finished';
my %FINISH   = (event => 'finish', data => 'finish');

my $SETTINGS = EventSource::XS::Settings->new(__PACKAGE__);

# The arguments of the original give warnings at most.
my $LENIENT = EventSource::XS::Settings->new(__PACKAGE__, warns => 1);

my @ATTRIBUTES = qw(characters close_cb last_event_id push_cb stream);

# The members of one connection only (shared_attributes).
my %IS_OWN = map { ($_ => 1) } qw(asked_at close_cb is_handle push_cb stream unwind);

sub new {
    my ($class, @given) = @_;
    my %given   = $LENIENT->parse('new takes attributes', @given);
    my %self    = map  { exists $given{$_} ? ($_ => delete $given{$_}) : () } @ATTRIBUTES;
    my @unknown = grep { /\A[A-Za-z][\w-]*\z/ } keys %given;
    $LENIENT->warn_unknown('unknown attribute', \@unknown, ['close_cb', 'push_cb']) if @unknown;
    $LENIENT->code($_ => $self{$_}) for qw(close_cb push_cb);
    return bless \%self, $class;
}

# A connection for a callback of on_close, where the application has released the original one.
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
    my %given =
        $SETTINGS->options('finish takes fields of an event', \@given, 'field %s of finish', qw(data event retry));
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
    EventSource::XS::Stream::BusyWorker->is_over if $EventSource::XS::Stream::BusyWorker::running;
    return $self->{stream} ? $self->{stream}->is_open : !!1;
}

sub last_event_id { return $_[0]{last_event_id} }

sub on_close {
    my ($self, $callback) = @_;
    $SETTINGS->refuse(callback => 'on_close takes a code reference') if ref $callback ne 'CODE';
    my $stream = $self->{stream}
        or $SETTINGS->throw(state => 'on_close needs a stream');

    # The stream keeps the callback, and neither may keep the connection: releasing the connection may end the stream.
    $stream->on_close($callback, $self);
    return $self;
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

# push itself is in src/xs (connection.xs). It handles native streams and plain ones on the server's writer, and calls
# _push_otherwise for the others.
*push = \&_push_otherwise if !__PACKAGE__->can('push');

# The hub has a member whose stream this is.
sub remember_member {
    my ($self, $hub, $member) = @_;
    $self->{member} = [$hub, $member->channel, $member->id];
    return;
}

# Returns what another connection with the same stream has in common with this one: a callback of on_close is given it.
sub shared_attributes {
    my $self = shift;
    return map { $_ => $self->{$_} } grep { !$IS_OWN{$_} } keys %$self;
}

sub spawn {
    my ($self, $code, @option) = @_;
    $SETTINGS->refuse(callback => 'spawn takes a code reference') if ref $code ne 'CODE';
    my %option   = EventSource::XS::Stream::Child->check($SETTINGS->parse('spawn takes options', @option));
    my $stream   = $self->{stream};
    my $obstacle = EventSource::XS::Stream::Child->obstacle_of($stream)
        // ($stream->is_subscribed ? 'the stream is subscribed to a hub, which would still write to it' : undef);
    $SETTINGS->throw(state => "spawn: $obstacle") if defined $obstacle;
    return !!0                                    if !$stream->is_open;
    return EventSource::XS::Stream::Child->start($self, $code, %option,
        errors => $request && $request->{'psgi.errors'} || \*STDERR);
}

sub stream { return $_[0]{stream} }

sub update_member {
    my ($self, $change) = @_;
    my ($hub, $channel, $id) = @{$self->{member} || []}
        or $SETTINGS->throw(
        state => 'update_member: a hub has no member of this stream: give subscribe the option member');
    return $hub->update_member($channel, $id, $change);
}

sub wait {
    my ($self, $handle, $seconds) = @_;
    my $stream = $self->{stream}
        or $SETTINGS->throw(state => 'wait needs a stream');
    $SETTINGS->refuse(handle => 'wait takes an open handle with a descriptor, or undef')
        if defined $handle && !defined EventSource::XS::Adapter->number_of($handle);
    $SETTINGS->seconds(seconds => $seconds);
    $SETTINGS->throw(state => 'wait would stop the event loop: call it in a spawned handler')
        if !$stream->is_blocking && ($self->{child} || 0) != $$;
    my $has_bytes = blessed $handle && $handle->can('pending') && $handle->pending;    # decrypted, or read ahead
    my $event     = $stream->wait($handle, $has_bytes ? 0 : $seconds);
    return $has_bytes && $event eq 'timeout' ? 'readable' : $event;
}

# Private methods and functions

# The result of a push to a client that has disconnected: false, or an exception that ends the handler, if the application
# wants that.
sub _not_taken {
    my $self = shift;
    die EventSource::Gone->new if $self->{unwind} && ${$self->{unwind}} == $$;
    EventSource::XS::Stream::BusyWorker->see_refusal($self->{stream});
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
    return $self->_write($bytes);
}

sub _write {
    my ($self, $bytes) = @_;
    local $EventSource::XS::is_pushing = 1;    # the writer may run handlers of signals
    return $self->{stream} && $self->{stream}->write($bytes) ? !!1 : $self->_not_taken;
}

# The server's writer has thrown an exception in a push.
sub _writer_died {
    my ($self, $stream, $exception) = @_;
    $stream->writer_died($exception);
    return $self->_not_taken;
}

sub DESTROY {
    my $self   = shift;
    my $stream = $self->{stream} or return;
    local ($@, $!, $?);
    $stream->drop if !$self->{is_handle};
    $stream->keep_attributes($self);
    return;
}

EventSource::XS->keep_errors('_write');

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

L<Plack::App::EventSource/handler_cb> receives an object of this class. Exceptions are L<EventSource::Error> objects, named
here by their code.

=head1 METHODS

=head2 new

    my $conn = Plack::App::EventSource::Connection->new(push_cb => sub { my @messages = @_; ... }, close_cb => sub { ... });

Create a connection on two callbacks, to test a handler. L</push> and L</close> call them with their arguments and return
their results, or throw C<invalid>. Such a connection is always open, has no last event ID, and its L</on_close> throws.

A sub that wraps C<new> is called for each stream, and the handler is given what it returns.

=head2 buffered

    my $bytes = $conn->buffered;

Return the bytes that are buffered for the client, with head and framing; 0 for a stream that is neither native nor of a hub.

=head2 close

    $conn->close;

End the stream when all pushed events have been sent. A browser then reconnects, unless you L</finish> the stream.

=head2 finish

    my $is_open = $conn->finish;
    my $is_open = $conn->finish(event => 'finish', data => 'finish');

End the stream for good: send a last event and L</close>. The page may listen for the event:

    const source = new EventSource('/events');
    source.onmessage = event => show(event.data);
    source.addEventListener('finish', () => source.close());

A client that does not listen reconnects with the event's id, and receives the status 204 from any worker, at which a browser
closes its C<EventSource>. A page that is loaded again begins a new stream.

The arguments are the fields C<event>, C<data> and C<retry>, as names and values or in a hash; others are C<invalid>. Returns
and throws what L</push> does.

=head2 finished_event

    my $type = Plack::App::EventSource::Connection->finished_event;

Return the default type of the event of L</finish>: C<finish>.

=head2 finished_id

    my $id = Plack::App::EventSource::Connection->finished_id;

Return the id of that event: C<eventsource-finished>. Give no other event this id; a hub refuses it.

=head2 is_native

    my $bool = $conn->is_native;

Return true if the stream is native (L<Plack::App::EventSource/NATIVE STREAMS>).

=head2 is_open

    my $bool = $conn->is_open;

Return false once the stream was closed or its client has disconnected; one that vanishes is noticed after
L<Plack::App::EventSource/timeout>.

=head2 last_event_id

    my $id = $conn->last_event_id;

Return the C<Last-Event-ID> that the client sent, as characters, or as bytes if it is not UTF-8; C<undef> if it sent none.
Polyfills send it in the query instead: C<last_event_id>, C<lastEventId> or C<evs_last_event_id>, the first that is not empty,
within 8,192 bytes. Clients may send any string; at most 1,025 bytes are returned.

=head2 on_close

    $conn->on_close(sub { my ($conn, $reason) = @_; ... });

Call a callback once when the stream has ended, with the connection and the reason:

    reason         why the stream ended
    -------------  ---------------------------------------------------------------------------
    client         the client disconnected or closed its side
    slow           more than "max_buffered" of Plack::App::EventSource was buffered for the client
    timeout        the client neither read nor acknowledged anything for "timeout" seconds
    error          the handler or a push died, or the system refused the stream
    server         the process ends
    application    the application closed the stream or released the connection

Callbacks run late in an idle worker of a server that blocks (L<EventSource::XS/WHEN CALLBACKS RUN>). Use the argument: a
callback that closes over another reference to the connection keeps the stream open.

Returns the connection. Throws C<invalid> for an argument that is not code, C<state> without a stream.

=head2 push

    my $is_open = $conn->push('text');
    my $is_open = $conn->push('three', 'lines', 'of one event');
    my $is_open = $conn->push({event => $name, id => $id, data => $data, retry => $milliseconds});
    my $is_open = $conn->push({json => $structure, comment => $note});
    my $is_open = $conn->push({data => $utf8, bytes => 1});

Send all messages of one call as one event. A string is data, and so is each element of a referenced array. A hash has the
fields of L<EventSource::XS/format_event>, sent in the order C<comment>, C<event>, C<id>, C<data>, C<retry>. C<undef> is empty
data. For characters and bytes see L<Plack::App::EventSource/characters>.

Returns true if the stream accepted the event, false if its client has disconnected (L<Plack::App::EventSource/on_gone> may
throw). On servers that block it waits for a slow client (L<Plack::App::EventSource/on_full>); if the handler of a signal dies
meanwhile, it rethrows that exception, and the stream ends.

Warns of an unknown field, which is ignored, of a reference that is sent as C<HASH(0x...)>, and of C<< push(data => $text) >>,
which sends two lines of data.

Throws C<invalid>, and sends nothing, if C<event>, C<id> or C<retry> has a line break or NUL, if C<json> is given beside
C<data> or C<bytes>, or cannot be encoded, and if C<bytes> is true and a string is not UTF-8. On a stream that is subscribed
to a hub it also refuses an C<id> that the hub would refuse (L<EventSource::Wire/IDS>); a client that reconnects with a pushed
id receives a C<gap>.

=head2 spawn

    my $pid = $conn->spawn(sub { my ($conn) = @_; ... });
    my $pid = $conn->spawn($code, max_children => 100, grace => 5);

Run C<$code> with the connection in a child process, and return its process id at once. L<EventSource::Cookbook/TAIL OF A LOG>
is an example.

The stream is the child's then, and ends with it: in the worker C<push> returns false. An exception is printed to
C<psgi.errors>, or to C<STDERR> outside of a handler.

When its client disconnects or its stream fails, the child's process group is sent SIGTERM, and SIGKILL after C<grace> seconds
(fractions allowed; 5 by default). The child also ends with its worker, however that ends, and its stream is cut, without a
C<retry>. Its C<$SIG{TERM}> may clean up. A child that has called C<exec> does not end: run programs with C<system> or a pipe.

In the child

=over

=item *

all signals but SIGPIPE, which is ignored, have their default, and random numbers are others;

=item *

no C<END> blocks and no destructors of the worker run. C<$code> must flush handles other than C<STDOUT> and C<STDERR>;

=item *

other streams are closed. A hub without a name throws C<state>, and so does C<spawn>. A named hub works;

=item *

handles of databases and files that the worker uses must not be used, and those of L<DBI> need C<AutoInactiveDestroy>: connect
in C<$code>.

=back

Callbacks of L</on_close> registered before run in the worker when the child has ended, with the reason of its stream:
C<error> also if the child was killed. Those of the child run in the child, if C<$code> returns.

Returns false if the client has left or does not read what was pushed before, and, with a warning once, if C<max_children>
children of this worker run (from 1; 100 by default), if the system refuses a process, or if the child has not begun after 10
seconds. The stream then stays the handler's:

    $conn->spawn($code) or $conn->push({event => 'busy', retry => 10_000, data => 'come back'});

Throws C<invalid> for a wrong argument; C<state> if the stream is not native or is subscribed to a hub, or if the server has
threads (C<psgi.multithread>; give uWSGI C<workers> instead).

On Feersum the child begins after the handler, in which C<spawn> returns the string C<later>. If it cannot be started then,
the stream ends with the reason C<error>, and the worker warns.

=head2 update_member

    my $is_here = $conn->update_member({json => {name => 'Ann', typing => \1}});

Change the data of the stream's member, as L<EventSource::Hub/update_member> does. Throws C<state> if it has none.

=head2 wait

    my $what = $conn->wait($handle, $seconds);
    my $what = $conn->wait(undef, 0.5);

Wait, while handlers of signals and queued callbacks run, and return what happens first:

=over

=item C<gone>

The stream has ended. A child (L</spawn>) is sent SIGTERM then: to see C<gone> it sets C<$SIG{TERM}>.

=item C<readable>

The handle is readable, or at its end; C<undef> is none. Read with C<sysread>: what perl has buffered does not count. A handle
of L<IO::Socket::SSL> must be non-blocking.

=item C<timeout>

So many seconds have passed, fractions allowed; never with C<undef>, the default.

=back

    $SIG{TERM} = 'IGNORE';    # in the child; SIGKILL comes after the grace
    while ((my $what = $conn->wait($socket, 30)) ne 'gone') {
        if ($what eq 'timeout') { $conn->push({event => 'idle', data => time}); next }
        sysread $socket, my $bytes, 65_536 or last;
        $conn->push($bytes);
    }

Throws C<invalid> for a handle without a descriptor or a wrong number; C<state> in an event loop, and if the connection has no
stream.

=cut
