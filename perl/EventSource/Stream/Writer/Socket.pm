package EventSource::Stream::Writer::Socket;
use strict;
use warnings;

# A writer on a socket itself, for a process that has inherited a stream whose server's writer it cannot use. What is
# written is the body of the response, its head is out. Without a socket every write dies.

our $VERSION = '0.100';

use Errno ();
use IO::Select;

sub new {
    my ($class, $socket) = @_;
    return bless {socket => $socket}, $class;
}

# Public methods

# Ends the response, though other processes may hold the socket.
sub close {
    my $self   = shift;
    my $socket = delete $self->{socket} or return;
    shutdown $socket, 1;
    return;
}

sub write {
    my ($self, $bytes) = @_;
    my $socket = $self->{socket} or die "There is no socket to write to\n";
    local $SIG{PIPE} = 'IGNORE';
    while (length $bytes) {
        my $count = syswrite $socket, $bytes;
        if    (defined $count)                { substr $bytes, 0, $count, '' }
        elsif ($!{EAGAIN} || $!{EWOULDBLOCK}) { IO::Select->new($socket)->can_write }
        elsif (!$!{EINTR})                    { die "The client has left: $!\n" }
    }
    return;
}

1;
