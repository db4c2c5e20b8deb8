package EventSource::XS::Stream::Relay::Process;
use strict;
use warnings;

# A process that continues a relay: it copies what a hub process writes to the client, so that the worker is free and
# the stream outlives it.
#
# It is a grandchild of the worker in a session of its own: nobody has to reap it, and signals to the server do not reach it.
# It has a copy of the server's writer, with its state of TLS, of framing and of filters of the body. Nothing else knows that
# state, so each such stream costs a process. The worker lets go of the connection by writing to /dev/null from then on: so
# nothing that it still does to end the response reaches the client.
#
# The process ends when the client has left, within a second, or when the hub ends the stream: then it ends the response as
# the server would. If the hub process is killed, the client is sent a retry. If that leaves an event incomplete, the response
# is cut, so that no client takes it for a complete one. A client that takes nothing for the stream's timeout is cut off.
#
# No event loop runs in the process: it would share the worker's epoll set. The process has no descriptors of the server but
# those of this connection, its files and its log. It runs no END blocks and no destructors of the application.

use Digest::MD5 qw(md5_hex);
use EventSource::XS::Adapter;
use EventSource::XS::ErrorLog;
use EventSource::XS::Library;
use EventSource::XS::Signals qw(without_signals);
use EventSource::XS::Stream::Child;
use IO::Handle;
use IO::Poll qw(POLLERR POLLHUP POLLIN POLLNVAL POLLOUT);
use IO::Select;
use List::Util  qw(min);
use POSIX       ();
use Socket      qw(AF_UNIX MSG_DONTWAIT SOCK_DGRAM pack_sockaddr_un);
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime);

# The client has closed its side. IO::Poll has no name for it.
my $POLLRDHUP = 0x2000;
my $LEFT      = $POLLRDHUP | POLLERR | POLLHUP | POLLNVAL;

# Bytes to copy at once: a record of TLS. And seconds between two looks whether the hub has ended a stream that waits for room.
my $BYTES          = 16_384;
my $CHECK_INTERVAL = 0.5;

# The longest piece of an unfinished event that is kept to find the event's end.
my $MAX_TAIL = 4_096;

my $FOLDER = '/proc/self/fd';

my $has_warned = 0;

# Public methods

# The bound of a hub: how many such processes it may have at the same time, whichever worker has started them.
sub bound {
    my ($class, $most, @hub) = @_;
    return {most => $most, hub => [map { defined ? $_ : '' } @hub]};
}

# Returns true if a process has taken the relay over. Its stream must have been handed over to the hub process.
sub start {
    my ($class, $relay, $bound) = @_;
    my $stream  = $relay->writer;
    my @adapter = EventSource::XS::Adapter->of_caller;
    @adapter = $stream->adapter if !@adapter;
    my $client = $bound->{most} ? $adapter[0]->relay_descriptor($stream, $adapter[1]) : undef;
    return !!0 if !defined $client || !EventSource::XS::_is_connection($client);
    local ($@, $!);
    my $obstacle = EventSource::XS::Stream::Child->obstacle;
    return _refuse($obstacle) if defined $obstacle;
    my $slot = _slot($bound)
        or return _refuse("there are $bound->{most} processes of relays already (max_relays)");
    open my $null, '+<', '/dev/null' or return _refuse("no /dev/null: $!");
    my @numbers = EventSource::XS::Stream::Child->descriptors or return _refuse("no $FOLDER: $!");
    my @copies  = _copies($client, @numbers);

    # From here on the worker needs no descriptor that it has not got, but the pipe with which fork_twice begins.
    my $self = bless {ours => $relay->ours, stream => $stream, number => $client, null => $null}, $class;
    @$self{qw(adapter numbers)} = (\@adapter, \@numbers);
    return without_signals(
        sub {
            EventSource::XS::Stream::Child->fork_twice(sub { $self->_run($slot, shift) })
                or return _refuse("no process: $!");
            $self->_silence(@copies);
            $relay->pass_on;
            return !!1;
        }
    );
}

# Private functions and methods: in the worker

# The descriptors of a connection. Not only the server may have one: a duplicate would keep the connection open when the process
# has ended it.
sub _copies {
    my ($number, @numbers) = @_;
    my $socket = readlink "$FOLDER/$number";
    return grep { my $target = readlink "$FOLDER/$_"; defined $target && $target eq $socket } @numbers;
}

# Tells the application, once for a process. The stream is served by its worker then.
sub _refuse {
    my $reason = shift;
    EventSource::XS::ErrorLog->warn("EventSource::Hub: a stream on the server's writer occupies its worker: $reason\n")
        if !$has_warned++;
    return !!0;
}

# Replaces descriptors by /dev/null. Their owners do not notice.
sub _silence {
    my ($self, @numbers) = @_;
    POSIX::dup2(fileno $self->{null}, $_) for @numbers;
    return;
}

# One of the names in the abstract namespace that the processes of a hub's relays may have. The kernel frees it when its process
# has ended, in whatever way. So nobody has to count.
sub _slot {
    my $bound = shift;
    socket my $slot, AF_UNIX, SOCK_DGRAM, 0 or return;
    my $key   = md5_hex(join "\0", $>, @{$bound->{hub}}, $ENV{EVENTSOURCE_RUNTIME_DIR} || '');    # a user may change
    my $first = int rand $bound->{most};
    for my $number (0 .. $bound->{most} - 1) {
        my $name = "\0eventsource-relay-$key-" . ($first + $number) % $bound->{most};
        return $slot if bind $slot, pack_sockaddr_un($name);
    }
    return;
}

# Private methods: in the process

# The process's life. Signals are blocked until nothing is left of the worker's handlers.
sub _run {
    my ($self, $slot, $reports) = @_;
    EventSource::XS::Stream::Child->default_signals;
    POSIX::setsid();
    my ($stream, $adapter, $server) = ($self->{stream}, @{$self->{adapter}});
    EventSource::XS::Stream::Child->silence_descriptors(
        @$self{qw(null numbers number)},
        map { fileno $_ } $self->{ours},
        $slot, $reports
    );
    $self->{client} = $stream->socket;
    if (!$self->{client} || fileno $self->{client} != $self->{number}) {
        open $self->{client}, '+<&=', $self->{number} or return;
    }
    $stream->enter_process($self->{client});
    $adapter->enter_relay_process($server, $stream);
    @$self{qw(linger timeout)} = @{$stream->settings}{qw(linger timeout)};
    $self->{ours}->blocking(0);
    $self->{tail} = '';
    EventSource::XS::Stream::Child->first_at_exit(sub { POSIX::_exit(shift) });
    $0 = 'eventsource relay';    ## no critic (RequireLocalizedPunctuationVars)
    syswrite $reports, "$$\n";
    close $reports;
    POSIX::sigprocmask(POSIX::SIG_SETMASK(), POSIX::SigSet->new);

    my $end = eval { $self->_copy };
    my $log = sub { EventSource::XS::ErrorLog->write(undef, 'EventSource::XS: the writer of a response', shift) };
    $log->($@) if !$end;         # the writer or a filter has died
    eval { $self->_end_response($end || 'client'); 1 } or $log->($@);
    for my $handle (*STDOUT, *STDERR) {
        eval { $handle->flush }
    }
    return POSIX::_exit(0);
}

# Copies until the stream ends. Returns how: 'client', the client has left or takes nothing; 'hub', the hub has ended the
# stream; 'lost', the hub process has ended, and has not told the client when to come back.
sub _copy {
    my $self = shift;
    my ($ours, $client, $stream) = @$self{qw(ours client stream)};
    my $reads = $client->isa('IO::Socket::SSL');    # its end may be a message of TLS
    my $poll  = IO::Poll->new;
    $poll->mask($ours   => POLLIN);
    $poll->mask($client => $POLLRDHUP | ($reads ? POLLIN : 0));
    while (1) {
        my $count = $poll->poll;
        next            if $count <= 0;                                                 # a signal
        return 'client' if $poll->events($client) & $LEFT;
        return 'client' if $poll->events($client) & POLLIN && $self->_has_closed_tls;
        next            if !$poll->events($ours);
        return 'client' if !$self->_wait_for_room;
        my $taken = sysread $ours, (my $bytes), $BYTES;
        next                      if !defined $taken && ($!{EAGAIN} || $!{EINTR});
        return $self->_end_of_hub if !$taken;
        return 'client'           if !$self->_write($bytes);
    }
    return;
}

# There is nothing left to read from the hub. A client that was slow when the hub closed its stream was cut off for that.
sub _end_of_hub {
    my $self = shift;
    return 'hub' if !$self->_is_hub_away || $self->{is_shut_down} || $self->{has_retry};
    return $self->{was_slow} ? 'client' : 'lost';
}

# Ends the response in the way of the server: the last chunk, the end of TLS, the end of the request. A client that takes
# nothing is not waited for. One that has left is sent nothing, and neither is one whose last event is incomplete: the cut
# tells it so.
sub _end_response {
    my ($self, $how) = @_;
    my ($stream, $adapter, $server) = ($self->{stream}, @{$self->{adapter}});
    my $is_cut = $how eq 'client' || $how eq 'lost' && length $self->{tail};
    if ($is_cut) {
        $self->_silence($self->{number});
        return $stream->end('client');
    }
    $self->_within(
        $self->{linger},
        sub {
            $how eq 'lost' ? $stream->end_with_retry : $stream->end('application');
            $adapter->end_relayed_response($server, $self->{client});
            $self->{client}->stop_SSL(SSL_fast_shutdown => 1) if $self->{client}->isa('IO::Socket::SSL');
        }
    );
    $self->_wait_for_client_to_close;
    return;
}

# The client's side of TLS has ended. What it sends besides is dropped.
sub _has_closed_tls {
    my $self   = shift;
    my $client = $self->{client};
    my $blocks = $client->blocking(0);
    my $taken  = sysread $client, (my $ignored), 65_536;
    my $waits  = !defined $taken && ($!{EAGAIN} || $!{EWOULDBLOCK} || $!{EINTR});
    $client->blocking($blocks) if $blocks;
    return !$taken && !$waits;
}

# A hub that ends a stream shuts it down, and closes it after the client. One that was killed, or cuts a client off, only
# closes.
sub _is_hub_away {
    my $self = shift;
    my $poll = IO::Poll->new;
    $poll->mask($self->{ours} => POLLIN | $POLLRDHUP);
    $poll->poll(0);
    my $events = $poll->events($self->{ours});
    return !!1 if $events & POLLHUP;
    $self->{is_shut_down} ||= $events & $POLLRDHUP;
    return !!0;
}

# A socket that is closed with unread bytes is reset, and the client would lose what it has not read.
sub _wait_for_client_to_close {
    my $self   = shift;
    my $client = $self->{client};
    my $select = IO::Select->new($client);
    my $until  = clock_gettime(CLOCK_MONOTONIC) + $self->{linger};
    return if !defined fileno $client;    # the writer has closed it
    shutdown $client, 1;
    while ((my $left = $until - clock_gettime(CLOCK_MONOTONIC)) > 0) {
        next if !$select->can_read($left);
        my $peer = recv $client, (my $ignored), 65_536, MSG_DONTWAIT;
        last if !defined $peer || !length $ignored;
    }
    return;
}

# While the client takes nothing, nothing is read from the hub: so the hub sees that the client is slow. Returns false if the
# client has left, or has taken nothing for too long. It is not waited for when the hub has ended its stream.
sub _wait_for_room {
    my $self  = shift;
    my $began = clock_gettime(CLOCK_MONOTONIC);
    my $poll  = IO::Poll->new;
    $poll->mask($self->{client} => POLLOUT | $POLLRDHUP);
    my $patience = EventSource::XS::RelayedClient->new;
    my $seconds  = 0;
    while (defined $seconds) {
        my $count   = $poll->poll(min $CHECK_INTERVAL, $seconds);
        my $events  = $count > 0 ? $poll->events($self->{client}) : 0;
        my $is_away = $seconds && $self->_is_hub_away;
        $self->{was_slow} ||= $is_away;
        return !!0 if $events & $LEFT;
        return !!1 if $events & POLLOUT;
        return !!0 if $is_away && clock_gettime(CLOCK_MONOTONIC) - $began >= $self->{linger};
        $seconds = $patience->look($self->{number}, $self->{timeout});
    }
    return !!0;
}

# Runs code, and shuts the client's socket down if that takes too long.
sub _within {
    my ($self, $seconds, $code) = @_;
    local $SIG{ALRM} = sub { shutdown $self->{client}, 2 };
    Time::HiRes::alarm($seconds < 1 ? 1 : $seconds);
    my $result = eval { $code->() };
    my $error  = $@;
    Time::HiRes::alarm(0);
    die $error if $error;
    return $result;
}

# There is room for some bytes, but perhaps not for all of them.
sub _write {
    my ($self, $bytes) = @_;
    my $began = clock_gettime(CLOCK_MONOTONIC);
    my $taken = $self->_within($self->{timeout}, sub { $self->{stream}->write_to_server($bytes) });
    $self->{was_slow} ||= clock_gettime(CLOCK_MONOTONIC) - $began > $CHECK_INTERVAL && $self->_is_hub_away;
    my $tail = $self->{tail} . $bytes;
    $tail =~ s/\A(?:.*\n)?(?:\r?\n)//s;       # what is before the last blank line is complete
    $tail =~ s/^(?::|retry: )[^\n]*\n//gm;    # and so are comments and reconnection times
    $tail              = 'x' . substr $tail, -3 if length $tail > $MAX_TAIL;
    $self->{tail}      = $tail;
    $self->{has_retry} = $bytes =~ /^retry: [0-9]+\r?\n(?:(?:[^\r\n]+\r?\n)*\r?\n)?\z/m;    # the last block says so
    return $taken;
}

1;
