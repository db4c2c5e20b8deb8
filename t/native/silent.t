# Clients that vanish without FIN, or that read nothing, are disconnected after timeout. This test opens the sockets itself,
# in network namespaces whose link it cuts.

use lib 't/lib';
use Testing;
use EventSource::XS;
use Testing::StreamPair;
use Fcntl qw(F_DUPFD);
use IO::Socket::INET;
use POSIX  ();
use Socket qw(AF_INET AF_UNIX INADDR_LOOPBACK IPPROTO_TCP PF_UNSPEC SOCK_STREAM SOL_SOCKET SO_RCVBUF pack_sockaddr_in);
use Testing::Developer qw(has_command);
use Time::HiRes        qw(sleep time);

# An interrupted test leaves no namespace behind.
use sigtrap qw(die untrapped HUP INT TERM);

my $TCP_USER_TIMEOUT = 18;
my $TIMEOUT          = 0.5;    # seconds, for a client that reads nothing
my $PATIENCE         = 1.5;    # seconds, for a client that reads slowly

# Two ends of a TCP connection: the client's, and the server's.
sub tcp {
    my $listens = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen   => 1)                  or die "socket: $!";
    my $client  = IO::Socket::INET->new(PeerAddr  => '127.0.0.1', PeerPort => $listens->sockport) or die "connect: $!";
    return ($client, scalar $listens->accept);
}

sub unix {
    socketpair my $client, my $server, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!";
    return ($client, $server);
}

# A stream over a socket, and a reference to why it has ended, when it has.
sub stream {
    my ($server, %setting) = @_;
    my $number = fcntl $server, F_DUPFD, 3 or die "dup: $!";
    my %own    = (is_loop => 0, timeout => $TIMEOUT, max_buffered => 64 * 1_048_576, linger => 0);
    my $stream = Testing::StreamPair->stream($number, %own, %setting);
    my $why;
    $stream->on_close(sub { $why = $_[1] });
    return ($stream, \$why);
}

sub ended_ok {
    my ($ended, $expected, $what) = @_;
    wait_until($DEADLINE, sub { EventSource::XS->dispatch; defined $$ended });
    return is $$ended, $expected, $what;
}

subtest 'the timer of the kernel, which a server may have set, is off' => sub {
    my ($client, $server) = tcp();
    setsockopt $server, IPPROTO_TCP, $TCP_USER_TIMEOUT, pack 'i', 1000 or die "setsockopt: $!";
    my ($stream) = stream($server);
    sysread $client, my $head, 100;
    is unpack('i', getsockopt $server, IPPROTO_TCP, $TCP_USER_TIMEOUT), 0, 'TCP_USER_TIMEOUT is 0';
};

for (['TCP' => \&tcp], ['a Unix socket' => \&unix]) {
    my ($what, $pair) = @$_;
    subtest "over $what a client that reads nothing is disconnected" => sub {
        my ($client, $server) = $pair->();
        my ($stream, $ended)  = stream($server);
        ok $stream->write('x' x 8_388_608), 'more is pushed than the sockets hold';
        ended_ok($ended, 'timeout', 'the stream ends with the reason timeout');
        ok !$stream->write('more'), 'a push returns false afterwards';
    };
    subtest "over $what a client that reads slowly is not disconnected" => sub {
        my ($client, $server) = $pair->();
        my ($stream, $ended)  = stream($server, timeout => $PATIENCE);
        close $server;    # the client must see the end of the stream
        my $count = 12;
        $stream->write(('x' x 999_999) . "\n") for 1 .. $count;
        my $lines = 0;
        my $slow  = time + 1.5 * $PATIENCE;
        my $taken = wait_until $DEADLINE, sub {
            EventSource::XS->dispatch;
            sysread $client, my $bytes, time < $slow ? 50_000 : 1_000_000 or return 1;
            $lines += $bytes =~ tr/\n//;
            return $lines == 2 + $count;
        };
        ok $taken, 'the client receives everything';
        is $$ended, undef, 'the stream stays open';
    };
}

# A client with a receive buffer of that size, which may be so small that it takes less at a time than a segment has.
sub client_with_room {
    my $bytes   = shift;
    my $listens = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1) or die "socket: $!";
    socket my $client, AF_INET, SOCK_STREAM, 0 or die "socket: $!";
    !$bytes or setsockopt $client, SOL_SOCKET, SO_RCVBUF, $bytes or die "setsockopt: $!";
    connect $client, pack_sockaddr_in($listens->sockport, INADDR_LOOPBACK) or die "connect: $!";
    return ($client, scalar $listens->accept);
}

subtest 'a client that takes little at a time is not disconnected' => sub {
    my ($client, $server) = client_with_room(8192);
    my ($stream, $ended)  = stream($server, timeout => $PATIENCE);
    $stream->write('x' x 8_388_608);
    my $end = time + 4 * $PATIENCE;
    while (time < $end && !defined $$ended) {
        EventSource::XS->dispatch;
        sysread $client, my $bytes, 600 or last;
        sleep 0.05;
    }
    is $$ended, undef, 'the stream stays open';
};

subtest 'a client that takes little at a time receives everything before the end' => sub {
    my ($client, $server) = client_with_room(8192);
    my ($stream, $ended)  = stream($server, timeout => $PATIENCE);
    close $server;    # the client must see the end of the stream
    $stream->write(('x' x 199_999) . "\n");
    $stream->close;
    my $read = '';
    while (sysread $client, $read, 2000, length $read) {
        EventSource::XS->dispatch;
        sleep 0.05;
    }
    is substr($read, -3), "xx\n",        'it reads for longer than the timeout';
    is $$ended,           'application', 'the stream has ended before';
};

# Links in namespaces

my %SETNS = (x86_64 => 308, aarch64 => 268);
my $setns = $SETNS{(POSIX::uname())[4]};
my @NAMES = map { "esx-$_-$$" } qw(server client);
my ($S, $C) = @NAMES;
open my $OUR_SPACE, '<', '/proc/self/ns/net' or die "namespace: $!";

sub ip { return system('ip', @_) == 0 }

sub has_namespaces {
    open my $null,   '>',  '/dev/null' or die "/dev/null: $!";
    open my $stderr, '>&', \*STDERR    or die "stderr: $!";
    open STDERR,     '>&', $null;
    my $has = ip('netns', 'add', $S) && ip('netns', 'add', $C);
    $has &&= ip('-n', $S, qw(link set lo mtu 1500 up)) && connects(1) && enter($C) && routes() && enter();
    open STDERR, '>&', $stderr;
    return $has;
}

# Enters a namespace, or returns to our own.
sub enter {
    my $name = shift;
    return syscall($setns, fileno $OUR_SPACE, 0) == 0 if !defined $name;
    open my $space, '<', "/var/run/netns/$name" or return;
    return syscall($setns, fileno $space, 0) == 0;
}

END {
    -e "/var/run/netns/$_" && ip('netns', 'del', $_) for @NAMES;
}

# A link of that number between the namespaces.
sub connects {
    my $number = shift;
    my $link   = "esx$number";
    ip('-n', $S, qw(link add), $link,               qw(type veth peer name), $link, 'netns', $C) or return;
    ip('-n', $S, qw(addr add), "10.0.$number.1/24", 'dev', $link);
    ip('-n', $C, qw(addr add), "10.0.$number.2/24", 'dev', $link);
    ip('-n', $C, qw(addr add), "10.1.$number.2/24", 'dev', $link);
    return ip('-n', $S, qw(link set), $link, 'up') && ip('-n', $C, qw(link set), $link, 'up');
}

# Makes a router of the namespace.
sub routes {
    open my $forward, '>', '/proc/sys/net/ipv4/ip_forward' or return;
    return print({$forward} "1\n") && close $forward;
}

# The two ends of a connection over a link.
sub far {
    my $address = "10.0.$_[0].1";
    enter($S)                                                                                or die "namespace: $!";
    my $listens = IO::Socket::INET->new(LocalAddr => $address, Listen => 1)                  or die "socket: $!";
    enter($C)                                                                                or die "namespace: $!";
    my $client = IO::Socket::INET->new(PeerAddr => $address, PeerPort => $listens->sockport) or die "connect: $!";
    enter()                                                                                  or die "namespace: $!";
    return ($client, scalar $listens->accept);
}

# Clients that read all that has come, at random: some times in a row, then not for most of the timeout. Some die: they read
# nothing any more. EVENTSOURCE_XS_STEPS is how many timeouts they live.
sub pauses_ok {
    my @links = @_;
    my $T     = 1.2;                                             # seconds
    my $end   = $T * ($ENV{EVENTSOURCE_XS_STEPS} || 5);
    my @rooms = (2304, 4096, 8192, 16_384, 65_536, undef) x 5;
    my @all   = map {
        my $link = $_;
        map { pausing_client($link, $_, $T, $end) } @rooms
    } @links;
    my $last = time + $end;
    while (time < $last) {
        for my $client (grep { !defined $_->{gap} } @all) {
            $client->{stream}->write(('x' x 7999) . "\n") if time / $T % 2;    # else the client may take all
            read_pausing($client, $T);
        }
        sleep 0.02;
        EventSource::XS->dispatch;
        defined ${$_->{ended}} and $_->{gap} //= time - $_->{last} for @all;
    }
    my @wrong = grep { defined $_->{gap} && $_->{gap} < $T && !$_->{is_late} } @all;
    is_deeply [map { "$_->{name}, $_->{gap} seconds after it has read" } @wrong], [],
        'no client ends that has read something within the timeout';
    ended_ok($_->{ended}, 'timeout', "a client that reads no more ends: $_->{name}")
        for grep { $_->{dies} < time } @all;
    return;
}

sub pausing_client {
    my ($link, $room, $T, $end) = @_;
    my ($what, $space) = @$link;
    enter($space) or die "namespace: $!" if $space;
    my ($client, $server) = client_with_room($room);
    enter() or die "namespace: $!" if $space;
    my ($stream, $ended) = stream($server, timeout => $T, on_full => 'drop_oldest', max_buffered => 200_000);
    $client->blocking(0);
    my $dies =
        $room && rand(4) < 1 ? time + rand 0.7 * $end : 9**9**9;  # the system's buffer may have room for all that comes
    return {
        name   => $what . ', window ' . ($room // 'of the system'),
        client => $client,
        stream => $stream,
        ended  => $ended,
        last   => time,
        next   => time,
        reads  => 0,
        dies   => $dies
    };
}

sub read_pausing {
    my ($client, $T) = @_;
    return if time < $client->{next} || time > $client->{dies};
    $client->{is_late} ||= time > $client->{next} + 0.1 * $T;    # this process was stopped for too long
    while (sysread $client->{client}, my $bytes, 65_536) { $client->{last} = time }
    my $has_pause = $client->{reads}-- <= 0;
    $client->{reads} = rand 10 if $has_pause;
    $client->{next}  = time + ($has_pause ? $T * (0.5 + rand 0.4) : 0.05);
    return;
}

my $has_links = $setns && has_command('ip') && has_namespaces();
pauses_ok(['loopback'], $has_links ? ['MTU of 1500', $S] : ());

# The failures of the links. Each link has a pair of clients.
my @CUTS = (
    ['its packets are lost'       => [$C, qw(route add blackhole 10.0.1.1/32)]],
    ['its cable is pulled'        => [$C, qw(link set esx2 down)]],
    ['our own cable is pulled'    => [$S, qw(link set esx3 down)]],
    ['our route to it is removed' => [$S, qw(route del 10.0.4.0/24)]],
    [
        'a router reports it as unreachable' => [$C, qw(addr del 10.0.5.2/24 dev esx5)],
        [$C, qw(route add 10.0.5.1/32 dev esx5)],
        [$C, qw(route add unreachable 10.0.5.2/32)],
    ],
);

SKIP: {
    skip 'network namespaces cannot be made here', 1 if !$has_links;
    for my $number (1 .. @CUTS) {
        my ($what, @cuts) = @{$CUTS[$number - 1]};
        $number == 1 || connects($number) or die "no link $number\n";
        subtest "a client is disconnected when $what" => sub {
            my ($first,  $server)  = far($number);
            my ($second, $another) = far($number);
            my ($pushed, $ended)   = stream($server);
            my ($quiet,  $end)     = stream($another, keepalive => 0.1);
            for ($first, $second) { sysread $_, my $head, 100 }
            is scalar(grep { ip('-n', @$_) } @cuts), scalar @cuts, 'the link is cut';
            ok $pushed->write("data: lost\n\n"), 'a push is accepted after the cut';
            ended_ok($ended, 'timeout', 'a stream with events ends with the reason timeout');
            ended_ok($end,   'timeout', 'a stream with keepalives ends with the reason timeout');
        };
    }
}

done_testing;
