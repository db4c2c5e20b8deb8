package Testing::HostileClients;
use strict;
use warnings;

# Hostile clients of a server (t/data/attack.psgi), for some seconds, in several processes at once. Which client comes next,
# and what it does, is random, but the same for the same seed. Every client has a deadline, and the number of open clients
# is bounded.
#
#   my %option  = (seconds => 4, seed => 1, streams => ['/hub'], except => ['short POST']);
#   my $clients = Testing::HostileClients->start($server->port, %option);
#   my %attacks = $clients->counts;       # waits until they have all left

use Carp       qw(croak);
use Errno      qw(EAGAIN EINTR);
use IO::Select ();
use IO::Socket::INET;
use JSON::PP ();
use POSIX    ();
use Testing::SlowReader;
use Socket      qw(MSG_NOSIGNAL SHUT_WR SOL_SOCKET SO_LINGER);
use Time::HiRes qw(alarm sleep time);

my $PROCESSES = 6;       # that attack; another one sends ordinary requests
my $KEPT      = 6;       # clients that never read, at most, in each process
my $AT_ONCE   = 1;       # seconds to connect
my $MOMENT    = 0.15;    # seconds for a response, or for what can be sent
my $GRACE     = 10;      # seconds after which a process that has not ended is killed
my $OFFSETS   = 702;     # resets come at each of so many bytes of the response: its head, a position, an event

my @VERSIONS = (
    'HTTP/1.0',     'HTTP/1.2',       'HTTP/1.10',          'HTTP/2.0',
    'HTTP/9.9',     'HTTP/0.9',       'HTTP/1.99999999999', 'HTTP/1.-1',
    'http/1.1',     "HTTP/1.1\nX: y", 'FOO/1.1',            '',
    "\x16\x03\x01", 'HTTP/1.1 ',      'x' x 2_000,          'HTTP/1.1 200 OK',
);
my @IDS = (
    '', ' ', '-', '0', '-1', '1-', 'a-b', '0-0', "\0", "\t", "\xFF", "\x{C3}", '%00', '9' x 30,
    'x' x 1_024,
    'x' x 5_000,
    '-' x 100,                'a-1-2',  'a-1-2-3',  'a-' . 9 x 25,
    'a-18446744073709551616', "a\x7Fb", '<script>', '../..',
);

# The kinds of clients: relative frequency, and behaviour.
my %ATTACK = (
    'pipeline'      => [3, \&_pipelines],
    'version'       => [2, \&_has_another_version],
    'short POST'    => [2, \&_posts_too_little],
    'never reads'   => [2, \&_never_reads],
    'reset'         => [4, \&_resets],
    'half-close'    => [2, \&_closes_half],
    'flood'         => [2, \&_floods],
    'large headers' => [1, \&_has_large_headers],
    'slow headers'  => [1, \&_has_slow_headers],
    'last id'       => [3, \&_has_any_last_id],
);

# Waits until all clients have left. Returns how often each kind of attack was made. Other keys: `offsets`, at how many
# bytes of the response there were resets; `answered` and `unanswered` ordinary requests; `no connection`; `killed`,
# processes that did not end.
sub counts {
    my $self = shift;
    my %sum;
    for my $process (@{$self->{processes}}) {
        my $text = $self->_text_of($process);
        $sum{killed}++ if !length $text;
        my %count = %{length $text ? JSON::PP::decode_json($text) : {}};
        $sum{$_} += $count{$_} for keys %count;
    }
    return %sum;
}

# True if the time of the clients is over.
sub has_ended { return time >= $_[0]{until} }

# Returns the kinds of attack that were never made.
sub left_out {
    my ($self, %count) = @_;
    my %wanted = map       { ($_ => 1) } @{$self->{attacks}};
    my @missed = sort grep { !$count{$_} } keys %wanted;
    return @missed;
}

sub start {
    my ($class, $port, %option) = @_;
    my $self     = bless {%option, port => $port, until => time + $option{seconds}, processes => []}, $class;
    my %left_out = map { ($_ => 1) } @{$option{except} || []};
    $self->{attacks} = [map { ($_) x $ATTACK{$_}[0] } grep { !$left_out{$_} } sort keys %ATTACK];
    push @{$self->{processes}}, $self->_fork($_) for 0 .. $PROCESSES;
    return $self;
}

# Private methods: the processes

sub _fork {
    my ($self, $number) = @_;
    pipe my $from, my $to or croak "HostileClients: pipe: $!";
    defined(my $pid = fork) or croak "HostileClients: fork: $!";
    return {pid => $pid, from => $from} if $pid;
    close $from;
    $SIG{$_} = 'DEFAULT' for qw(ALRM HUP INT TERM);
    $SIG{PIPE} = 'IGNORE';
    alarm $self->{seconds} + $GRACE;
    srand $self->{seed} + $number;
    @$self{qw(number count kept)} = ($number, {}, []);
    my $done = eval { $number == $PROCESSES ? $self->_requests : $self->_attacks; 1 };
    print STDERR "HostileClients: $@" if !$done;
    syswrite $to, JSON::PP::encode_json($self->{count}) if $done;
    return POSIX::_exit(0);
}

sub _attacks {
    my $self = shift;
    while (!$self->has_ended) {
        my $attack = _any($self->{attacks});
        my $done   = $ATTACK{$attack}[1]->($self);
        $self->{count}{$done ? $attack : 'no connection'}++;
    }
    return;
}

# Ordinary requests, one after another.
sub _requests {
    my $self = shift;
    while (!$self->has_ended) {
        my $socket = $self->_connect or next;
        _sends($socket, _request('/plain', 'HTTP/1.1', Connection => 'close'));
        my $response = _reads($socket, 65_536, $GRACE / 2);
        $self->{count}{$response =~ /plain\z/ ? 'answered' : 'unanswered'}++;
        close $socket;
        sleep 0.002;
    }
    return;
}

# Waits for a process, and kills it if it does not end. Returns its report.
sub _text_of {
    my ($self, $process) = @_;
    my $left = $self->{until} + $GRACE - time;
    my $text = '';
    $text = readline($process->{from}) // '' if IO::Select->new($process->{from})->can_read($left < 0 ? 0 : $left);
    kill KILL => $process->{pid} if !length $text;
    waitpid $process->{pid}, 0;
    return $text;
}

# Private methods: attacks, each false if there is no connection

sub _closes_half {
    my $self   = shift;
    my $socket = $self->_asks or return;
    _reads($socket, _upto(2_000)) if rand > 0.3;
    shutdown $socket, SHUT_WR;
    return _leaves($socket);
}

# Bytes behind the request, more than the kernel holds for a server that does not read.
sub _floods {
    my $self   = shift;
    my $socket = $self->_asks or return;
    _reads($socket, 1) if rand > 0.5;
    _sends($socket, _any(['x', "\r\n", "\0", "GET /plain HTTP/1.1\r\n", _bytes(50)]) x 20_000);
    return _leaves($socket);
}

sub _has_another_version {
    my $self   = shift;
    my $socket = $self->_connect or return;
    _sends($socket, _request($self->_stream, _any(\@VERSIONS)));
    return _leaves($socket);
}

sub _has_any_last_id {
    my $self = shift;
    my $id   = rand > 0.3 ? _any(\@IDS) : _bytes(_upto(2_000));
    $id =~ s/[\r\n]//g if rand > 0.1;
    my $path   = $self->_stream;
    my $socket = $self->_connect or return;
    my $query  = rand > 0.7 ? '?last_event_id=' . $id =~ s/([^\w.-])/sprintf '%%%02X', ord $1/ger : '';
    _sends($socket, _request("$path$query", 'HTTP/1.1', $query ? () : ('Last-Event-ID' => $id)));
    return _leaves($socket);
}

sub _has_large_headers {
    my $self   = shift;
    my $socket = $self->_connect or return;
    my @many   = map { ("X-Header-$_" => 'x' x 90) } 1 .. 1_000;
    _sends($socket, _request($self->_stream, 'HTTP/1.1', @{_any([[X => 'x' x 100_000], \@many])}));
    return _leaves($socket);
}

# One byte at a time. The last of them may never come.
sub _has_slow_headers {
    my $self   = shift;
    my $socket = $self->_connect or return;
    my $bytes  = _request($self->_stream, 'HTTP/1.1');
    my $slow   = 1 + _upto(20);
    _sends($socket, substr $bytes, 0, length($bytes) - $slow, '');
    for my $byte (split //, rand > 0.3 ? $bytes : substr $bytes, 0, $slow / 2) {
        sleep 0.005;
        _sends($socket, $byte);
    }
    return _leaves($socket);
}

# Stays until it is replaced by others. Native only: a stream on the writer of a server that blocks would occupy a worker
# meanwhile.
sub _never_reads {
    my $self   = shift;
    my $client = eval { Testing::SlowReader->get($self->{port}, _any([qw(/native /hub /oldest)])) } or return;
    my $kept   = $self->{kept};
    push @$kept, $client;
    (splice @$kept, rand @$kept, 1)->leave(reset => rand > 0.5) if @$kept > $KEPT;
    return 1;
}

# Several requests in one write.
sub _pipelines {
    my $self   = shift;
    my $socket = $self->_connect or return;
    my $bytes  = '';
    for (1 .. 2 + _upto(8)) {
        my $kind = rand;
        if    ($kind < 0.4) { $bytes .= _request($self->_stream, 'HTTP/1.1') }
        elsif ($kind < 0.7) { $bytes .= _request('/plain', 'HTTP/1.1') }
        else                { $bytes .= _post(_any([qw(/plain /publisher/x)]), 'a=b&c', 5) }
    }
    _sends($socket, $bytes);
    return _leaves($socket);
}

# Not for Starman: a short POST ends its worker, whatever the application is (t/attack/short_post.t).
sub _posts_too_little {
    my $self   = shift;
    my $socket = $self->_connect or return;
    my $length = 1 + _upto(10_000);
    _sends($socket, _post(_any([qw(/plain /publisher/x)]), 'x' x _upto($length), $length));
    return _leaves($socket);
}

# Resets the connection at the next byte of the response.
sub _resets {
    my $self   = shift;
    my $offset = (($self->{resets}++ || 0) * $PROCESSES + $self->{number}) % $OFFSETS;
    my $socket = $self->_asks or return;
    $self->{count}{offsets}++ if $self->{resets} * $PROCESSES <= $OFFSETS;
    _reads($socket, $offset)  if $offset;
    return _resets_now($socket);
}

# Private methods and functions: parts of attacks

sub _any { return $_[0][rand @{$_[0]}] }

# Opens a client that requests a stream.
sub _asks {
    my $self   = shift;
    my $socket = $self->_connect or return;
    _sends($socket, _request($self->_stream, _any([qw(HTTP/1.0 HTTP/1.1)])));
    return $socket;
}

sub _bytes {
    return join '', map { chr int rand 256 } 1 .. $_[0];
}

sub _connect {
    my $self   = shift;
    my $socket = IO::Socket::INET->new(
        PeerAddr => '127.0.0.1',
        PeerPort => $self->{port},
        Proto    => 'tcp',
        Timeout  => $AT_ONCE
    ) or return;
    $socket->blocking(0);
    return $socket;
}

# Leaves in a random way.
sub _leaves {
    my $socket = shift;
    my $how    = int rand 4;
    _reads($socket, 1 + _upto(3_000)) if $how > 1;
    return _resets_now($socket)       if $how % 2;
    close $socket;
    return 1;
}

sub _post {
    my ($path, $body, $length) = @_;
    return "POST $path HTTP/1.1\r\nHost: a\r\nContent-Length: $length\r\n\r\n$body";
}

# Reads that many bytes, until the end of the response or a deadline.
sub _reads {
    my ($socket, $bytes, $seconds) = @_;
    my $until = time + ($seconds || $MOMENT);
    my $got   = '';
    my $ready = IO::Select->new($socket);
    while (length $got < $bytes && (my $left = $until - time) > 0) {
        $ready->can_read($left) or last;
        my $count = sysread $socket, $got, $bytes - length $got, length $got;
        last if defined $count ? !$count : $! != EAGAIN && $! != EINTR;
    }
    return $got;
}

sub _request {
    my ($path, $version, @headers) = @_;
    my $text = "GET $path $version\r\nHost: a\r\n";
    while (my ($name, $value) = splice @headers, 0, 2) { $text .= "$name: $value\r\n" }
    return "$text\r\n";
}

sub _resets_now {
    my $socket = shift;
    setsockopt $socket, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
    close $socket;
    return 1;
}

# Sends as much as the server accepts before a deadline.
sub _sends {
    my ($socket, $bytes) = @_;
    my $until = time + $MOMENT;
    my $ready = IO::Select->new($socket);
    while (length $bytes && (my $left = $until - time) > 0) {
        $ready->can_write($left) or last;
        my $sent = send $socket, $bytes, MSG_NOSIGNAL;
        if    (defined $sent)               { substr $bytes, 0, $sent, '' }
        elsif ($! != EAGAIN && $! != EINTR) { last }
    }
    return;
}

# Returns the path of a stream, mostly a native one. One on the writer of a server that blocks occupies a worker until the
# client leaves.
sub _stream {
    my $self = shift;
    my ($native, $writer) = @$self{qw(native writer)};
    return _any(@$writer && rand > 0.9 ? $writer : $native);
}

sub _upto { return int rand 1 + $_[0] }

1;
