package Testing::Port;
use strict;
use warnings;

# A port of 127.0.0.1 that nobody else is given: for a server that is to be started, and for as long as the object lives, so
# also while the server is stopped.
#
#   my $port = Testing::Port->new;
#   system 'starman', '--listen', '127.0.0.1:' . $port->number, ...
#
# A socket is bound to the port and never listens. Then the kernel gives the port to no other socket that asks for any, neither
# of this process nor of another one, nor to an outgoing connection. A server may bind it all the same, since servers set
# SO_REUSEADDR as this socket does. To look for a free port and to close its socket again would leave a moment for others.

use Carp qw(croak);
use IO::Socket::INET;

sub new {
    my $class  = shift;
    my $socket = IO::Socket::INET->new(
        LocalAddr => '127.0.0.1',
        LocalPort => 0,
        ReuseAddr => 1,
        Proto     => 'tcp',
        Type      => SOCK_STREAM
    ) or croak "Port: no free port: $!";
    return bless {socket => $socket}, $class;
}

sub number { return $_[0]{socket}->sockport }

1;
