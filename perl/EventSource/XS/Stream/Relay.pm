package EventSource::XS::Stream::Relay;
use strict;
use warnings;

# Connects a hub to a stream on the server's writer. The hub writes to one end of a socketpair, as to any client. The
# bytes from the other end go to the server's writer.
#
# From then on everything that is written to the stream goes through the native stream, in order. The native stream's
# settings apply: keepalive, max_buffered. Both count as one stream in EventSource::XS::stats. The timeout is the relay's:
# only the relay sees whether the client takes something, by the rule for native streams (EventSource::XS::RelayedClient). If
# the adapter shows no socket, the hub looks at the relay.
#
# Under an event loop watchers copy the bytes. While the client reads nothing they copy nothing: the server buffers some 100
# KB at most, and then the hub sees that the client is slow. If the adapter shows no socket, everything goes to the server at
# once. On servers that block, serve copies. For a named hub, a process of the relay copies in both cases
# (Stream::Relay::Process).

use EventSource::Error;
use EventSource::XS::Adapter;
use EventSource::XS::Library;
use EventSource::XS::Loop;
use EventSource::XS::SocketPair;
use EventSource::XS::Stream::Fallback;
use EventSource::XS::Stream::Native;
use EventSource::XS::Stream::Relay::Process;
use IO::Select;
use List::Util   qw(max min);
use Scalar::Util qw(refaddr weaken);
use Time::HiRes  ();

our @CARP_NOT = qw(EventSource::Hub EventSource::XS::Hub::App);

$EventSource::XS::is_polling = 1;    # dispatch calls collect

# Bytes to copy at once: less than the kernel has sent when a full socket has room again, or the queue of a server with an event
# loop would grow while a slow client reads. And seconds between two checks of a serving handler whether the client is there.
my $BYTES          = 16_384;
my $CHECK_INTERVAL = 1;

# Seconds between two looks whether the hub process has taken a stream.
my $POLL = 0.01;

# Milliseconds to wait until the reactor reports why a stream has ended.
my $END_TIMEOUT = 1_000;

# The settings of a stream that was opened without them. Plack::App::EventSource gives its own.
my %DEFAULT = (keepalive => 0, linger => 2, max_buffered => 4_194_304, on_full => 'disconnect', timeout => 60);

# The seconds for which the hub waits for a relay that sees its client. A slow client may let it copy nothing for long. Not
# endless, as the reactor remembers when it looks next.
my $HUB_TIMEOUT = 86_400;

# The reasons of an end after which the client may be reading nothing.
my %READS_NOTHING = map { ($_ => 1) } qw(slow timeout error);

# The relays by the address of their stream, until that has ended.
my %RELAYS;

sub CLONE { %RELAYS = (); return }

# Public methods

# End the relay. The stream itself is left to the caller. Called when the stream ends.
sub close {
    my $self = shift;
    delete @$self{qw(look watch)};
    my $ours = delete $self->{ours} or return;
    delete $RELAYS{$self->{address}};
    CORE::close $ours;
    delete $self->{native};
    return;
}

# Without an event loop, dispatch calls this to copy what the hubs have written.
sub collect {
    $_->() for grep { defined } map { $_->{look} } values %RELAYS;
    return;
}

# The process ends, and the reactor has written everything. Copies only what the clients take at once. The writer of a
# server that blocks might wait for its client.
sub copy_all_at_once {
    for my $relay (grep { $_->{owner} == $$ && !$_->{stream}->is_blocking } values %RELAYS) {
        local ($@, $SIG{__DIE__});
        eval { $relay->_copy_at_once; 1 } or warn $@;
    }
    return;
}

sub native { return $_[0]{native} }

# Return the native stream of a stream's relay; undef if it has no relay.
sub native_of {
    my ($class, $stream) = @_;
    my $relay = $RELAYS{refaddr $stream} or return $stream->passed_on;
    return $relay->{native};
}

# Return the native stream of a stream's relay, made at the first call, or of the relay that a process has taken over.
sub native_of_or_create {
    my ($class, $stream) = @_;
    return $stream->passed_on || $class->of_or_create($stream)->native;
}

# Return the relay of a stream, made at the first call. Throws an EventSource::Error with the code unavailable if the system
# has no descriptors for it.
sub of_or_create {
    my ($class, $stream) = @_;
    my $address = refaddr $stream;
    return $RELAYS{$address} if $RELAYS{$address};
    my ($ours, $theirs) = EventSource::XS::SocketPair->open or _refuse("no socketpair: $!");
    my $number = EventSource::XS::_duplicate(fileno $theirs);
    _refuse("no descriptor: $!") if !defined $number;
    my %setting = (%DEFAULT, %{$stream->settings}, is_loop => 1, opening => '');
    my $timeout = defined $setting{timeout} ? $setting{timeout} : $DEFAULT{timeout};
    @setting{qw(timeout native_settings)} = (max $HUB_TIMEOUT, $timeout) if $stream->socket;
    my $native = EventSource::XS::Stream::Native->open($number, '', %setting);
    my $self   = bless {
        address => $address,
        owner   => $$,
        ours    => $ours,
        native  => $native,
        stream  => $stream,
        timeout => $timeout,
    }, $class;
    $ours->blocking(0);
    $RELAYS{$address} = $self;
    $stream->route_through($native);
    my $known = $self;
    weaken $known;
    $self->{closes} = sub { $known->close if $known };
    $stream->on_close($self->{closes});

    if (!$stream->is_blocking) {
        $native->on_close(sub { $known->_shut_down($_[1]) if $known });
        $self->_wait_for_hub;
    }
    return $self;
}

sub ours { return $_[0]{ours} }

# A process has taken the relay over. What the worker still does with the stream goes to the hub process.
sub pass_on {
    my $self = shift;
    my ($stream, $closes) = @$self{qw(stream closes)};
    my $native = $self->{native};
    $self->close;
    $stream->pass_on($native, $closes);
    return;
}

# A stream of a named hub may be passed on to a process, within the bound of these. Under an event loop that happens when the
# hub process has taken the stream, otherwise when the stream is served.
sub may_pass_on {
    my ($class, $stream, $bound, $absence) = @_;
    my $relay = $RELAYS{refaddr $stream} or return;
    @$relay{qw(bound absence)} = ($bound, $absence);
    $relay->_pass_on_when_sent if !$stream->is_blocking && $relay->_can_pass_on;
    return;
}

# Copy until the client has disconnected, which is seen within a second, or the native stream has ended; then end the stream
# for the same reason. Returns true. Rethrows an exception of a write (Stream::Writer::write).
sub serve {
    my $self   = shift;
    my $select = IO::Select->new($self->{ours});
    my ($adapter, $server) = EventSource::XS::Adapter->of_caller;
    EventSource::XS::Stream::Fallback->warn_in_test if !$self->{stream}->socket;
    while ($self->{ours} && $self->{stream}->check_open) {
        return $self->_end_with_worker if _is_ending($adapter, $server);
        next                           if !$select->can_read($CHECK_INTERVAL);
        my $is_full = $self->{stream}->is_full;
        delete $self->{patience} if !$is_full;
        last                     if !($is_full ? $self->_wait_for_room : $self->_copy);
    }
    $self->_end;
    return !!1;
}

# A refused stream too has bytes to copy: the retry. One that waits for the hub process holds this worker, so it does for
# the seconds of its patience only.
sub serve_stream {
    my ($class, $stream) = @_;
    my $relay = $RELAYS{refaddr $stream} or return !!0;
    my $bound = $relay->{bound};
    $relay->{native}->leave_handler if $relay->{native};    # its subscriptions take effect now
    if ($bound) {
        my $until = Time::HiRes::time() + $relay->{absence}->patience_of_stream;
        Time::HiRes::sleep($POLL) while $relay->_waits_for_hub && Time::HiRes::time() < $until;
        return $relay->_end_with_worker if $relay->_waits_for_hub;
    }
    return !!1 if $bound && $relay->_can_pass_on && EventSource::XS::Stream::Relay::Process->start($relay, $bound);
    return $relay->serve;
}

sub stream { return $_[0]{stream} }

# Private functions and methods

# True if the server ends, as far as its adapter knows.
sub _is_ending {
    my ($adapter, $server) = @_;
    local $SIG{__DIE__};
    return $adapter && eval { $adapter->is_ending($server) };
}

# The hub process has one end of the relay, and the other end is this process's. Without a socket no process can continue it.
sub _can_pass_on {
    my $self = shift;
    return
           $self->{owner} == $$
        && $self->{ours}
        && $self->{native}
        && $self->{native}->is_handed_over
        && $self->{stream}->socket
        && $self->{stream}->is_open;
}

# Passes the relay on when the server has sent what it has. Until then the relay copies nothing, or that might never be.
sub _pass_on_when_sent {
    my $self  = shift;
    my $bound = delete $self->{bound};
    $self->_limit_silence;
    weaken(my $known = $self);
    my $pass_on = sub {
        return if !$known || !$known->{ours};
        return if $known->_can_pass_on && EventSource::XS::Stream::Relay::Process->start($known, $bound);
        $known->_wait_for_hub;
    };
    my ($adapter) = EventSource::XS::Adapter->of_caller;
    my $is_known = ($adapter || $self->{stream}->adapter)->when_sent($self->{stream}, $pass_on);
    $self->_wait_for_hub if !$is_known && $self->{ours};
    return;
}

# Under an event loop, copies nothing, and ends the stream if the client takes nothing for the stream's timeout. Returns what
# the relay waits for.
sub _limit_silence {
    my $self = shift;
    delete @$self{qw(look watch)};
    weaken $self;
    my $loop     = EventSource::XS::Loop->current or return {};
    my $patience = EventSource::XS::RelayedClient->new;
    my $watch    = $self->{watch} = {};
    weaken(my $known = $watch);
    my $look = $watch->{look} = sub {
        return if !$known || !$self || !$self->{native};
        my $seconds = $self->_look($patience);
        return $self->_shut_down('timeout') if !defined $seconds;
        return $known->{timer} = $loop->after($seconds, $known->{look});
    };
    $look->();
    return $watch;
}

# Returns the seconds until the next look at a client whose socket is full; undef if the client is dead.
sub _look {
    my ($self, $patience) = @_;
    my $number = $self->{stream}->descriptor;
    return defined $number ? $patience->look($number, $self->{timeout}) : $self->{timeout};
}

# The hub process has not taken the relay yet.
sub _waits_for_hub {
    my $self = shift;
    return $self->{owner} == $$ && $self->{native} && $self->{native}->is_open && !$self->{native}->is_handed_over;
}

# Under an event loop, waits until the client reads again.
sub _wait_for_client {
    my $self = shift;
    weaken $self;
    my $loop = EventSource::XS::Loop->current or return;
    $self->_limit_silence->{room} = $loop->writable($self->{stream}->socket, sub { $self->_wait_for_hub if $self });
    return;
}

# Without an event loop, waits for a while until the client reads again. Returns false if it is dead: then the stream has ended,
# and nothing waits for that client.
sub _wait_for_room {
    my $self    = shift;
    my $socket  = $self->{stream}->socket;
    my $seconds = $self->_look($self->{patience} ||= EventSource::XS::RelayedClient->new);
    if (defined $seconds) {
        IO::Select->new($socket)->can_write(min $CHECK_INTERVAL, $seconds);
        return !!1;
    }
    $self->_shut_down('timeout');
    return !!0;
}

# Under an event loop, waits for bytes from the hub. While the client reads nothing, the relay reads nothing:
# otherwise the server would buffer everything, and the hub would not see that the client is slow.
sub _wait_for_hub {
    my $self = shift;
    weaken $self;
    my $copy = sub {
        return if !$self || $self->{owner} != $$;    # bytes that a child reads are lost for its parent
        local $@;
        my $passes   = $self->{bound} && $self->_can_pass_on;
        my $has_more = eval { $passes ? $self->_pass_on_when_sent : $self->_copy };
        if    ($passes)                  { warn $@ if $@ }
        elsif (!$has_more)               { warn $@ if $@; $self->_end }
        elsif ($self->{stream}->is_full) { $self->_wait_for_client }
    };
    my $loop = EventSource::XS::Loop->current;
    if ($loop) { $self->{watch} = $loop->readable($self->{ours}, $copy) }
    else       { $self->{look} = $copy }
    return;
}

# Copies one piece of what the hub has written. Between two pieces the server may write. Returns false at the end of
# the hub's stream, or if the client has disconnected.
sub _copy {
    my $self = shift;
    return !!0 if !$self->{ours};
    my $count = sysread $self->{ours}, (my $bytes), $BYTES;
    return $!{EAGAIN} || $!{EINTR} if !defined $count;
    return $count && $self->{stream}->write_to_server($bytes);
}

sub _copy_at_once {
    my $self   = shift;
    my $select = IO::Select->new($self->{ours});
    while ($self->{ours} && !$self->{stream}->is_full && $select->can_read(0)) { $self->_copy or last }
    return;
}

sub _refuse {
    my $error = shift;
    return EventSource::Error->throw(code => 'unavailable', message => "EventSource::Hub: $error");
}

# The hub has ended the stream of a client that reads nothing, or this relay does. Nobody may wait for that client, so its
# socket is shut down; the server would wait until it reads.
sub _shut_down {
    my ($self, $reason) = @_;
    return if !$READS_NOTHING{$reason} || !$self->{ours} || $self->{owner} != $$;
    my ($stream, $native) = @$self{qw(stream native)};
    my $socket = $stream->socket;
    $native->close($reason);    # has no effect if the hub has ended it
    shutdown $socket, 2 if $socket && defined fileno $socket;
    $self->close;
    $stream->end($reason);
    return;
}

# The server waits for this response to end its worker, or the hub process is away. The client is sent what the hub has
# written, and a retry; then it reconnects.
sub _end_with_worker {
    my $self   = shift;
    my $select = IO::Select->new($self->{ours});
    $self->{native}->close('server');
    while ($self->{ours} && $select->can_read($CHECK_INTERVAL)) { $self->_copy or last }
    $self->{stream}->end_with_retry if $self->{ours} && $self->{stream}->check_open;
    $self->close;
    return !!1;
}

# Ends the stream for the reason for which the native stream has ended.
sub _end {
    my $self   = shift;
    my $native = $self->{native};
    if ($native && $self->{stream}->check_open) {
        $native->close;    # has no effect if it has ended
        $native->_wait_for_end($END_TIMEOUT);
        $self->{stream}->end($native->_want_end || 'application');
    }
    $self->close;
    return;
}

1;
