package Testing::StreamPair;
use strict;
use warnings;

# A native stream of this process and the client at its other end, as a pair of objects.
#
#   my ($stream, $client) = Testing::StreamPair->open(max_buffered => 4_096);
#   $stream->write("data: hello\n\n");
#   $client->read_until(qr/hello/);

use Carp qw(croak);
use EventSource::XS;
use EventSource::XS::Stream::Native;
use IO::Socket::INET;
use Testing::Client;

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

# One listener for each process: a forked child with its parent's might accept the parent's connection.
my %listener;

# Returns the two ends of a connection: a descriptor that the caller owns, and a client that has sent a request.
sub connect {
    my ($class, %option) = @_;
    $listener{$$} ||= IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 128, Proto => 'tcp')
        or croak "StreamPair: no listener: $!";
    my $client = Testing::Client->get($listener{$$}->sockport, '/');
    my $socket = $listener{$$}->accept or croak "StreamPair: accept: $!";
    defined(my $number = EventSource::XS::_duplicate(fileno $socket)) or croak "StreamPair: $!";
    sysread $socket, my $request, 65_536;
    close $socket;
    return ($number, $client);
}

# Returns a stream and its client. The settings are those of EventSource::XS::Stream::Native->open.
sub open {
    my ($class,  %setting) = @_;
    my ($number, $client)  = $class->connect;
    return ($class->stream($number, %setting), $client);
}

# Returns a stream on a descriptor, which it takes over.
sub stream {
    my ($class, $number, %setting) = @_;
    return EventSource::XS::Stream::Native->open($number, $HEAD, %SETTINGS, %setting);
}

1;
