# A name with several addresses, of which some are dead: the client of sockets tries the next one beside it.

use lib 't/lib';
use Testing;
use EventSource::Client;
use EventSource::XS::TCPConnection;
use IO::Socket::INET;
use Socket                 qw(AF_INET SOCK_STREAM inet_aton pack_sockaddr_in);
use Testing::HostileServer qw(hostile_server);

my $LONG = 3600;    # seconds that an attempt may take: for longer than this test

my $server = hostile_server(
    sub {
        my $client = shift;
        print {$client} "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: hello\n\n";
    }
);
my ($port) = $server->url('/') =~ /:(\d+)/;

# An address that answers nothing: its backlog is full, so that the kernel drops what asks for a connection.
my $dead = IO::Socket::INET->new(LocalAddr => '127.0.0.2', LocalPort => $port, Listen => 1, ReuseAddr => 1)
    or die "127.0.0.2:$port: $!";
listen $dead, 0 or die "listen: $!";
my @waiting;
for (1 .. 8) {
    my $socket = IO::Socket::INET->new(Proto => 'tcp') or die "socket: $!";
    $socket->blocking(0);
    CORE::connect $socket, pack_sockaddr_in($port, inet_aton('127.0.0.2'));
    push @waiting, $socket;
}

# The addresses that a name has, in their order.
my %addresses = (
    'dead.test'    => [qw(127.0.0.2 127.0.0.1)],
    'refused.test' => [qw(127.0.0.3 127.0.0.1)],
    'both.test'    => [qw(127.0.0.2 127.0.0.3 127.0.0.2 127.0.0.1)],
    'none.test'    => [qw(127.0.0.3 127.0.0.2)],
);

for my $module (qw(EventSource::XS::TCPConnection IO::Socket::IP)) {
    no strict 'refs';    ## no critic (ProhibitNoStrict)
    no warnings 'redefine';
    my $original = \&{"${module}::getaddrinfo"};
    *{"${module}::getaddrinfo"} = sub {
        my ($host, $service, @hints) = @_;
        my $all = $addresses{$host} or return $original->(@_);
        return (
            '',
            map {
                +{
                    addr     => pack_sockaddr_in($service, inet_aton($_)),
                    family   => AF_INET,
                    socktype => SOCK_STREAM,
                    protocol => 6
                }
            } @$all
        );
    };
}

for my $name (sort grep { $_ ne 'none.test' } keys %addresses) {
    my ($socket, $why) = EventSource::XS::TCPConnection->connect($name, $port, $LONG);
    is $socket && $socket->peerhost, '127.0.0.1', "$name is connected to the address that answers" or diag $why;
    ok $socket && $socket->blocking, 'with a socket that blocks';
}

my ($none, $why) = EventSource::XS::TCPConnection->connect('none.test', $port, 0.01);
is $none, undef, 'without an address that answers there is no connection';
like $why, qr/refused/i, 'and the first reason is told';
($none, $why) = EventSource::XS::TCPConnection->connect('127.0.0.2', $port, 0.01);
like $why, qr/timed out/i, 'the reason of a dead address is a timeout';
($none, $why) = EventSource::XS::TCPConnection->connect('nowhere.invalid', $port, $LONG);
ok !$none && length $why, 'that of an unknown name is told, too';

my $client = EventSource::Client->new(url => "http://dead.test:$port/");
is $client->next->{data}, 'hello', 'a client reads a stream of a name whose first address is dead';
$client->close;

done_testing;
