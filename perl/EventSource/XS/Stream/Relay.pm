package EventSource::XS::Stream::Relay;
use strict;
use warnings;

# A stream on the server's writer that follows a hub: a native stream on one end of a socketpair. The bytes from the other end
# go to the server's writer.
#
# A stream of Stream::Writer becomes a relay when it first subscribes. It stays the same object, whoever has it, with the
# callbacks that it had; the relay has another one of that class as its writer. From then on everything that is written to it
# goes through the socketpair, in order. The settings of a native stream apply: keepalive, max_buffered. The timeout is the
# relay's: only the relay sees whether the client takes something, by the rule for native streams
# (EventSource::XS::RelayedClient). If the adapter shows no socket, the hub looks at the relay.
#
# Under an event loop watchers copy the bytes. While the client reads nothing they copy nothing: the server buffers some 100
# KB at most, and then the hub sees that the client is slow. If the adapter shows no socket, everything goes to the server at
# once. On servers that block, serve copies. For a named hub, a process of the relay copies in both cases
# (Stream::Relay::Process); then the relay has no writer, and is like any stream that was handed over.

use parent 'EventSource::XS::Stream::Native';
use EventSource::XS::Adapter;
use EventSource::XS::ErrorLog;
use EventSource::XS::Library;
use EventSource::XS::Loop;
use EventSource::XS::Settings;
use EventSource::XS::SocketPair;
use EventSource::XS::Stream::Relay::Process;
use IO::Select;
use List::Util   qw(max min);
use Scalar::Util qw(refaddr weaken);
use Time::HiRes  qw(CLOCK_MONOTONIC clock_gettime);

my $SETTINGS = EventSource::XS::Settings->new('EventSource::Hub');

$EventSource::XS::is_polling = 1;    # dispatch calls collect

# Bytes to copy at once: less than the kernel has sent when a full socket has room again, or the queue of a server with an event
# loop would grow while a slow client reads. And seconds between two checks of a serving handler whether the client is there.
my $BYTES          = 16_384;
my $CHECK_INTERVAL = 1;

# Seconds between two looks whether the hub process has taken a stream.
my $POLL = 0.01;

# Milliseconds to wait until the reactor reports why a stream has ended.
my $END_TIMEOUT = 1_000;

# The seconds for which the hub waits for a relay that sees its client. A slow client may let it copy nothing for long. Not
# endless, as the reactor remembers when it looks next.
my $HUB_TIMEOUT = 86_400;

# The reasons of an end after which the client may be reading nothing.
my %READS_NOTHING = map { ($_ => 1) } qw(slow timeout error);

# The relays that have a writer, by address.
my %RELAYS;

sub CLONE { %RELAYS = (); return }

# Public methods

# The stream becomes a relay, unless it is one. Throws an EventSource::Error with the code unavailable if the system has no
# descriptors for it, and with the code state in a forked child: there nobody serves the relay.
sub begin {
    my ($class, $stream) = @_;
    return if $stream->isa('EventSource::XS::Stream::Native');
    $SETTINGS->throw(state => 'this stream is of the process that this one was forked from: subscribe it there')
        if !$stream->is_here;
    my ($ours, $theirs) = EventSource::XS::SocketPair->open or $SETTINGS->throw(unavailable => "no socketpair: $!");
    my $number = EventSource::XS::_duplicate(fileno $theirs);
    $SETTINGS->throw(unavailable => "no descriptor: $!") if !defined $number;
    my %setting = (%{$stream->settings}, is_loop => 1, opening => '');
    my $timeout = $setting{timeout};
    @setting{qw(timeout native_settings)} = (max $HUB_TIMEOUT, $timeout) if $stream->socket;
    my $native = EventSource::XS::Stream::Native->open($number, '', %setting);
    $ours->blocking(0);
    my %relay = (
        has_pushed_id => $stream->has_pushed_id,
        nonblocking   => !$stream->is_blocking,
        ours          => $ours,
        owner         => $$,
        timeout       => $timeout,
        writer        => $stream->as_part_of($stream),
    );
    my ($callbacks, $in_handler) = @$stream{qw(on_close in_handler)};
    %$stream = %relay;
    bless $stream, $class;
    $stream->_become($native);
    $RELAYS{refaddr $stream} = $stream;
    $stream->enter_handler if $in_handler;
    unshift @$callbacks, \&_shut_down, 0 if $relay{nonblocking};
    $stream->add_callbacks($callbacks);
    $stream->_wait_for_hub if $relay{nonblocking};
    return;
}

# Without an event loop, dispatch calls this to copy what the hubs have written.
sub copy_all {
    $_->() for grep { defined } map { $_->{look} } values %RELAYS;
    return;
}

# The process ends, and the reactor has written everything. Copies only what the clients take at once. The writer of a
# server that blocks might wait for its client.
sub copy_all_at_once {
    for my $relay (grep { $_->{owner} == $$ && !$_->is_blocking } values %RELAYS) {
        local ($@, $SIG{__DIE__});
        eval { $relay->_copy_at_once; 1 } or _log($@);
    }
    return;
}

# The stream belongs to the hub, whether or not the application keeps it.
sub drop { return }

# End the stream at once, without what its hub has written.
sub end {
    my ($self, $reason) = @_;
    return $self->{writer} ? $self->{writer}->end($reason) : $self->close($reason);
}

# End the stream after the client is sent what the hub has written, and a retry.
sub end_with_retry {
    my $self = shift;
    return $self->SUPER::end_with_retry if !$self->{writer};
    $self->_copy_rest('server');
    $self->{writer}->end_with_retry if $self->{writer};
    return;
}

# The handler has died. End the stream after the client is sent what was pushed before.
sub fail {
    my $self = shift;
    local $@;
    eval { $self->_copy_rest('error') if $self->{writer}; 1 } or _log($@);
    return $self->end('error');
}

# Before it became a relay. The native stream knows of later ones.
sub has_pushed_id { return $_[0]{has_pushed_id} }

sub is_blocking { return !$_[0]{nonblocking} }

sub is_native { return !!0 }

# If this call finds that the client has disconnected, the stream ends.
sub is_open {
    my $self = shift;
    return (!$self->{writer} || $self->{writer}->is_open) && $self->SUPER::is_open;
}

sub ours { return $_[0]{ours} }

# A process has taken the relay over. What the worker still does with the stream goes to the hub process.
sub pass_on {
    my $self   = shift;
    my $writer = $self->{writer};
    $self->_stop_copying;
    return $writer->leave_to_process;
}

# A stream of a named hub may be passed on to a process, within the bound of these. Under an event loop that happens when the
# hub process has taken the stream, otherwise when the stream is served.
sub may_pass_on {
    my ($self, $bound, $absence) = @_;
    return if !$self->{writer};
    @$self{qw(bound absence)} = ($bound, $absence);
    $self->_pass_on_when_sent if !$self->is_blocking && $self->_can_pass_on;
    return;
}

# The writer has ended: the reason is the stream's, unless that has ended before.
sub see_end {
    my ($self, $reason) = @_;
    $self->{reason} = $reason;
    $self->close($reason);
    return $self->_stop_copying;
}

sub see_input { return $_[0]{writer} && $_[0]{writer}->see_input }

# On a server that blocks, send what the hub has for the stream, until it ends or a process continues it. A client that leaves
# is seen within a second. Rethrows an exception of a write (Stream::Writer::write_to_server). A refused stream too has bytes to
# copy: the retry. One that waits for the hub process occupies this worker, but only for the seconds of its patience. One
# that no hub has accepted ends when it is sent what was pushed.
sub serve {
    my $self = shift;
    return       if !$self->{writer};
    $self->close if !$self->is_subscribed;
    if ($self->{bound}) {
        my $until = clock_gettime(CLOCK_MONOTONIC) + $self->{absence}->patience_of_stream;
        Time::HiRes::sleep($POLL) while $self->_waits_for_hub && clock_gettime(CLOCK_MONOTONIC) < $until;
        return $self->end_with_retry if $self->_waits_for_hub;
        return if $self->_can_pass_on && EventSource::XS::Stream::Relay::Process->start($self, $self->{bound});
    }
    return if !$self->{writer};    # the client has left while the stream waited for the hub process
    my $select = IO::Select->new($self->{ours});
    my @server = EventSource::XS::Adapter->of_caller;

    # Plack::Test returns a response when that has ended, and nobody ends a hub's stream.
    EventSource::XS::ErrorLog->warn(
        "EventSource::XS: Plack::Test waits for the end of a hub's stream: test it with Test::EventSource\n")
        if !$self->socket
        && EventSource::XS->is_below(qr/\AHTTP::Message::PSGI::res_from_psgi\z/)
        && EventSource::XS->is_first_time('in test');
    while ($self->{writer} && $self->{writer}->is_open) {
        return $self->end_with_retry if EventSource::XS::Adapter->is_worker_ending(@server);
        next                         if !$select->can_read($CHECK_INTERVAL);
        last                         if !$self->_copy_or_wait;
    }
    return $self->_end;
}

sub socket { return $_[0]{writer} && $_[0]{writer}->socket }

sub writer { return $_[0]{writer} }

# A push to a stream on a server that blocks. No other call sees there that the client has left.
sub write {
    my ($self, $bytes) = @_;
    return $self->is_open && $self->SUPER::write($bytes);
}

# The stream has become a relay in a write that has died.
sub writer_died {
    my ($self, $error) = @_;
    return $self->{writer} && $self->{writer}->writer_died($error);
}

# Private functions and methods

# The hub process has one end of the relay, and the other end is this process's. Without a socket no process can continue it.
sub _can_pass_on {
    my $self = shift;
    return $self->{owner} == $$ && $self->is_handed_over && $self->socket && $self->is_open;
}

# Passes the relay on when the server has sent what it has. Until then the relay copies nothing, or that might never be.
sub _pass_on_when_sent {
    my $self  = shift;
    my $bound = delete $self->{bound};
    $self->_limit_silence;
    return if !$self->{writer};    # it has ended because of that
    weaken(my $known = $self);
    my $pass_on = sub {
        return if !$known || !$known->{writer};
        return if $known->_can_pass_on && EventSource::XS::Stream::Relay::Process->start($known, $bound);
        $known->_wait_for_hub;
    };
    my ($adapter) = EventSource::XS::Adapter->of_caller;
    my $is_known = ($adapter || $self->{writer}->adapter)->when_sent($self->{writer}, $pass_on);
    $self->_wait_for_hub if !$is_known && $self->{writer};
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
        return if !$known || !$self || !$self->{writer};
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
    my $number = $self->{writer}->descriptor;
    return defined $number ? $patience->look($number, $self->{timeout}) : $self->{timeout};
}

# The hub process has not taken the relay yet.
sub _waits_for_hub {
    my $self = shift;
    return $self->{owner} == $$ && $self->is_open && !$self->is_handed_over;
}

# Under an event loop, waits until the client reads again.
sub _wait_for_client {
    my $self = shift;
    weaken $self;
    my $loop = EventSource::XS::Loop->current or return;
    $self->_limit_silence->{room} = $loop->writable($self->socket, sub { $self->_wait_for_hub if $self });
    return;
}

# Without an event loop, waits for a while until the client reads again. Returns false if it is dead: then the stream has ended,
# and nothing waits for that client.
sub _wait_for_room {
    my $self    = shift;
    my $socket  = $self->socket;
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
        if    ($passes)                                     { _log($@) if $@ }
        elsif (!$has_more)                                  { _log($@) if $@; $self->_end }
        elsif ($self->{writer} && $self->{writer}->is_full) { $self->_wait_for_client }
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
    return $count && $self->{writer}->write_to_server($bytes);
}

# Where the server blocks, waits for room first: a write would wait for a client that reads nothing. Returns false as _copy
# does, or if that client is dead.
sub _copy_or_wait {
    my $self = shift;
    return !!0 if !$self->{writer};
    my $is_full = $self->is_blocking && $self->{writer}->is_full;
    delete $self->{patience} if !$is_full;
    return $is_full ? $self->_wait_for_room : $self->_copy;
}

# Ends the native stream, and copies what is left of it.
sub _copy_rest {
    my ($self, $reason) = @_;
    $self->close($reason);
    my $select = IO::Select->new($self->{ours});
    while ($self->{ours} && $select->can_read($CHECK_INTERVAL)) { $self->_copy_or_wait or last }
    return;
}

sub _copy_at_once {
    my $self   = shift;
    my $select = IO::Select->new($self->{ours});
    while ($self->{writer} && !$self->{writer}->is_full && $select->can_read(0)) { $self->_copy or last }
    return;
}

# The hub has ended the stream of a client that reads nothing, or this relay does. Nobody may wait for that client, so its
# socket is shut down; the server would wait until it reads.
sub _shut_down {
    my ($self, $reason) = @_;
    return if !$READS_NOTHING{$reason} || !$self->{writer} || $self->{owner} != $$;
    my $socket = $self->socket;
    shutdown $socket, 2 if $socket && defined fileno $socket;
    return $self->end($reason);
}

# Ends the stream for the reason for which the native stream has ended.
sub _end {
    my $self = shift;
    return if !$self->{writer} || !$self->{writer}->is_open;
    $self->close;    # has no effect if it has ended
    $self->_wait_for_end($END_TIMEOUT);
    return $self->end($self->_want_end || 'application');
}

# The relay copies no more.
sub _stop_copying {
    my $self = shift;
    delete @$self{qw(look watch writer)};
    delete $RELAYS{refaddr $self};
    close delete $self->{ours} if $self->{ours};
    return;
}

sub _want_end {
    my $self   = shift;
    my $reason = $self->SUPER::_want_end;
    return defined $reason && defined $self->{reason} ? $self->{reason} : $reason;
}

# The exception of a writer or a filter.
sub _log { return EventSource::XS::ErrorLog->write(undef, 'EventSource::XS: the writer of a response', shift) }

1;
