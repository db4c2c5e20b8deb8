package Testing::Pair;
use strict;
use warnings;

# A native stream of this process, and the client at its other end.
#
#   my ($stream, $client) = Testing::Pair->open(max_buffered => 4_096);
#   $stream->write("data: hello\n\n");
#   $client->read_until(qr/hello/);

use Carp qw(croak);
use Testing::Client;
use EventSource::Stream::Native;
use EventSource::XS;
use IO::Socket::INET;

my $HEAD     = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
my %SETTINGS = (
    is_loop      => 1,
    keepalive    => 0,
    linger       => 2,
    max_buffered => 1_048_576,
    on_full      => 'disconnect',
    opening      => '',
    timeout      => 60,
);

# One for each process: who shares one might accept the other's connection.
my %listener;

# Public methods

# The two ends of a connection: a descriptor that is its taker's, and a client that has sent a request.
sub connect {
    my ($class, %option) = @_;
    $listener{$$} ||= IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 128, Proto => 'tcp')
        or croak "Pair: no listener: $!";
    my $client = Testing::Client->get($listener{$$}->sockport, '/');
    my $socket = $listener{$$}->accept or croak "Pair: accept: $!";
    defined(my $number = EventSource::XS::_duplicate(fileno $socket)) or croak "Pair: $!";
    sysread $socket, my $request, 65_536;
    close $socket;
    return ($number, $client);
}

sub open {
    my ($class,  %setting) = @_;
    my ($number, $client)  = $class->connect;
    return (EventSource::Stream::Native->open($number, $HEAD, %SETTINGS, %setting), $client);
}

1;
