package EventSource::XS::Stream::Writer::Socket;
use strict;
use warnings;

# A PSGI writer on the client's socket, for a process that has inherited a stream and cannot use the server's writer.
# The head has been sent; the bytes written are the body. Without a socket every write dies.

use IO::Select;
use Socket qw(MSG_NOSIGNAL);

sub new {
    my ($class, $socket) = @_;
    return bless {socket => $socket}, $class;
}

# Public methods

# A shutdown ends the response, though other processes may have the socket.
sub close {
    my $self   = shift;
    my $socket = delete $self->{socket} or return;
    shutdown $socket, 1;
    return;
}

# Write all bytes, and wait for a slow client. Dies if the client has disconnected.
sub write {
    my ($self, $bytes) = @_;
    my $socket = $self->{socket} or die "There is no socket to write to\n";
    while (length $bytes) {
        my $count = send $socket, $bytes, MSG_NOSIGNAL;    # a local $SIG{PIPE} would lose a handler set in C
        if    (defined $count)                { substr $bytes, 0, $count, '' }
        elsif ($!{EAGAIN} || $!{EWOULDBLOCK}) { IO::Select->new($socket)->can_write }
        elsif (!$!{EINTR})                    { die "The client has disconnected: $!\n" }
    }
    return;
}

1;
