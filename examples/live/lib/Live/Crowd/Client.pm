package Live::Crowd::Client;
use strict;
use warnings;

# One client of the crowd: an EventSource as a browser has it (WHATWG HTML, section 9.2), over HTTP/1.1. It comes back when
# its stream ends, after the time that the server has asked for, and says which event was its last. Now and then it hangs
# up by itself. The events of each channel are numbered without a gap, so it sees what it has missed or is sent twice.

use EventSource::Parser;
use IO::Poll qw(POLLIN POLLOUT);
use IO::Socket::INET;

my $RETRY    = 3;        # seconds until it comes back, unless the server says something else
my $PATIENCE = 30;       # seconds between two attempts at most, where there is no server
my $AT_ONCE  = 65_536;

# `at` is when it comes for the first time; `leave_every` how many seconds it stays on average, 0 for ever.
sub new {
    my ($class, %param) = @_;
    my %counted = map { ($_ => 0) } qw(opened missed told twice failures);
    return bless {%param, %counted, parser => EventSource::Parser->new, number => {}}, $class;
}

# Public methods

# The connection that it begins to open; none if that fails at once.
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
    $self->_come_back($now) if !$self->{socket};
    return $self->{socket};
}

# Does what its connection is ready for.
sub go_on {
    my ($self, $now) = @_;
    my $goes_on = length $self->{out} ? $self->_send : $self->_receive;
    $self->_come_back($now) if !$goes_on;
    return;
}

# Leaves its stream as it is, perhaps in the middle of an event.
sub hang_up {
    my ($self, $now) = @_;
    $self->_come_back($now);
    return;
}

# Whether it wants to connect, or has been connected for long enough.
sub is_due { return defined $_[0]{at} && $_[0]{at} <= $_[1] }

sub is_open { return !!$_[0]{is_open} }

# That of its last event of a channel, 0 if it has had none.
sub number_of { return $_[0]{number}{$_[1]} || 0 }

sub socket { return $_[0]{socket} }

sub waits_for { return length $_[0]{out} ? POLLOUT : POLLIN }

# Private methods

# What is new of the body, without its framing.
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

# The stream has ended, or there was none. It is opened again later: where there is no server, later each time.
sub _come_back {
    my ($self, $now) = @_;
    $self->{parser}->finish;
    my $retry = defined $self->{parser}->retry ? $self->{parser}->retry / 1000 : $RETRY;
    my $wait  = $retry * 2**$self->{failures};
    $wait = $PATIENCE < $retry ? $retry : $PATIENCE if $wait > $PATIENCE;
    $self->{failures}++ if !$self->{is_open};
    $self->{at} = $self->{has_failed} ? undef : $now + $wait;
    delete @$self{qw(socket is_open is_chunked is_complete)};
    return;
}

# An event of a channel.
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

# These two are true while the response goes on.

sub _receive {
    my $self  = shift;
    my $count = sysread $self->{socket}, $self->{in}, $AT_ONCE, length $self->{in};
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

# Told of a gap, it does not know any more what comes next.
sub _take_body {
    my $self = shift;
    for my $event ($self->{parser}->feed($self->_body)) {
        my ($number) = $event->{data} =~ /"number":([0-9]+)/;
        if    (defined $number)          { $self->_count($event->{event}, $number) }
        elsif ($event->{event} eq 'gap') { $self->{told}++; $self->{number} = {} }
    }
    return;
}

# Whether there is a stream. What is none fails it for good, as it does a browser's.
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
