package Live::Crowd::Client;
use strict;
use warnings;

# One client of the crowd: an EventSource like a browser's (WHATWG HTML, section 9.2), over HTTP/1.1. When its stream ends
# it reconnects after the server's reconnection time with its last event ID. It also disconnects by itself at random times.
# The events of each channel are numbered consecutively, so it can count events that were missed or received twice.

use EventSource::Parser;
use IO::Poll qw(POLLIN POLLOUT);
use IO::Socket::INET;

my $RETRY      = 3;        # seconds until it reconnects, unless the server sets another time
my $MAX_WAIT   = 30;       # seconds between two attempts if there is no server
my $READ_BYTES = 65_536;

# `at` is the time of the first connection; `leave_every` is the mean duration of a connection in seconds, 0 if the client
# never disconnects by itself.
sub new {
    my ($class, %param) = @_;
    my %counted = map { ($_ => 0) } qw(opened missed gaps twice failures);
    return bless {%param, %counted, parser => EventSource::Parser->new, number => {}}, $class;
}

# Public methods

# Starts to connect. Returns the socket, or undef if that fails at once.
sub connect {
    my ($self, $now) = @_;
    my ($host, $port, $id) = (@$self{qw(host port)}, $self->{parser}->last_event_id);
    utf8::encode($id);
    my @headers = (
        "Host: $host:$port",
        'User-Agent: crowd',
        'Accept: text/event-stream',
        'Cache-Control: no-cache',
        length $id ? "Last-Event-ID: $id" : (),
    );
    $self->{at}     = $self->{leave_every} ? $now + $self->{leave_every} * (0.1 + 1.8 * rand) : undef;
    $self->{in}     = '';
    $self->{out}    = join "\r\n", "GET $self->{path} HTTP/1.1", @headers, '', '';
    $self->{socket} = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port, Blocking => 0);
    $self->_schedule_reconnect($now) if !$self->{socket};
    return $self->{socket};
}

# Sends or receives what the socket is ready for.
sub handle_ready {
    my ($self, $now) = @_;
    my $goes_on = length $self->{out} ? $self->_send : $self->_receive;
    $self->_schedule_reconnect($now) if !$goes_on;
    return;
}

# Disconnects, perhaps in the middle of an event.
sub hang_up {
    my ($self, $now) = @_;
    $self->_schedule_reconnect($now);
    return;
}

# Returns true if it is time to connect or to disconnect.
sub is_due { return defined $_[0]{at} && $_[0]{at} <= $_[1] }

sub is_open { return !!$_[0]{is_open} }

# Returns the number of its last event of a channel, 0 if there is none.
sub number_of { return $_[0]{number}{$_[1]} || 0 }

sub socket { return $_[0]{socket} }

sub poll_events { return length $_[0]{out} ? POLLOUT : POLLIN }

# Private methods

# Returns the new bytes of the body, without the framing.
sub _body {
    my $self = shift;
    my $body = '';
    ($body, $self->{in}) = ($self->{in}, '') if !$self->{is_chunked};
    while ($self->{is_chunked} && $self->{in} =~ /\A([0-9a-fA-F]+)[^\r\n]*\r\n/) {
        my ($start, $size) = ($+[0], hex $1);
        last if length $self->{in} < $start + $size + 2;
        $body .= substr $self->{in}, $start, $size;
        substr $self->{in}, 0, $start + $size + 2, '';
        $self->{is_complete} = 1 if !$size;
    }
    return $body;
}

# Schedules the next connection after a stream has ended or could not be opened. The wait doubles with each failure.
sub _schedule_reconnect {
    my ($self, $now) = @_;
    $self->{parser}->finish;
    my $retry = defined $self->{parser}->retry ? $self->{parser}->retry / 1000 : $RETRY;
    my $wait  = $retry * 2**$self->{failures};
    $wait = $MAX_WAIT < $retry ? $retry : $MAX_WAIT if $wait > $MAX_WAIT;
    $self->{failures}++ if !$self->{is_open};
    $self->{at} = $self->{has_failed} ? undef : $now + $wait;
    delete @$self{qw(socket is_open is_chunked is_complete)};
    return;
}

# Counts an event by its number in its channel.
sub _count {
    my ($self, $channel, $number) = @_;
    my $last = $self->{number}{$channel};
    if (defined $last) {
        $self->{twice}++                       if $number <= $last;
        $self->{missed} += $number - $last - 1 if $number > $last + 1;
    }
    $self->{number}{$channel} = $number;
    return;
}

# _receive and _send return true while the response continues.

sub _receive {
    my $self  = shift;
    my $count = sysread $self->{socket}, $self->{in}, $READ_BYTES, length $self->{in};
    return $!{EAGAIN} || $!{EINTR} if !defined $count;
    return !!0                     if !$count;
    return !$self->{has_failed}    if !$self->{is_open} && !$self->_take_head;
    $self->_take_body;
    return !$self->{is_complete};
}

sub _send {
    my $self = shift;
    local $SIG{PIPE} = 'IGNORE';
    my $count = syswrite $self->{socket}, $self->{out};
    return $!{EAGAIN} || $!{EINTR} if !defined $count;
    substr $self->{out}, 0, $count, '';
    return !!1;
}

# After a gap event the next number of a channel is not known.
sub _take_body {
    my $self = shift;
    for my $event ($self->{parser}->feed($self->_body)) {
        my ($number) = $event->{data} =~ /"number":([0-9]+)/;
        if    (defined $number)          { $self->_count($event->{event}, $number) }
        elsif ($event->{event} eq 'gap') { $self->{gaps}++; $self->{number} = {} }
    }
    return;
}

# Returns true if the head is complete and begins a stream. Any other response ends the client for good, as it does with
# a browser's EventSource.
sub _take_head {
    my $self = shift;
    $self->{in} =~ s/\A(.*?\r\n)\r\n//s or return !!0;
    my $head = $1;
    if ($head !~ m{\AHTTP/1\.[01] 200 } || $head !~ m{^Content-Type: *text/event-stream\b}mi) {
        $self->{has_failed} = 1;
        return !!0;
    }
    $self->{is_chunked} = $head =~ /^Transfer-Encoding: *chunked\b/mi;
    $self->{is_open}    = 1;
    $self->{failures}   = 0;
    $self->{opened}++;
    return !!1;
}

1;
