package Testing::SlowReader;
use strict;
use warnings;

# A client with a small receive window and small segments, so that a server notices after some 100 KB that nothing is read.
# It reads only when the test asks it to. With large segments the server's send buffer holds some megabytes.
#
#   my $client = Testing::SlowReader->get($server->port, '/held');
#   my $client = Testing::SlowReader->get($server->port, '/held', segment => 32_767);

use parent 'Testing::Client';
use Carp qw(croak);
use IO::Socket::INET;
use Socket qw(IPPROTO_TCP SOL_SOCKET SO_RCVBUF TCP_MAXSEG inet_aton pack_sockaddr_in);

my $WINDOW  = 4_096;
my $SEGMENT = 1_400;

sub get {
    my ($class, $port, $path, %option) = @_;
    my $socket = IO::Socket::INET->new;
    socket $socket, AF_INET, SOCK_STREAM, IPPROTO_TCP or croak "SlowReader: $!";
    setsockopt $socket, SOL_SOCKET,  SO_RCVBUF,  $WINDOW                      or croak "SlowReader: $!";
    setsockopt $socket, IPPROTO_TCP, TCP_MAXSEG, $option{segment} || $SEGMENT or croak "SlowReader: $!";
    connect $socket, pack_sockaddr_in($port, inet_aton('127.0.0.1')) or croak "SlowReader: port $port: $!";
    my $self = bless
        {http => $option{http} || '1.1', port => $port, host => "127.0.0.1:$port", socket => $socket},
        $class;
    return $self->request($path, %option);
}

1;
