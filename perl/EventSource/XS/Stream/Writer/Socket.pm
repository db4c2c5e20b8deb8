package EventSource::XS::Stream::Writer::Socket;
use strict;
use warnings;

# A PSGI writer on the client's socket, for a process that has inherited a stream and cannot use the server's writer.
# The head has been sent; the bytes written are the body. Without a socket every write dies.

our $VERSION = '0.100';

use Errno ();
use IO::Select;
use Socket qw(MSG_NOSIGNAL);

sub new {
    my ($class, $socket) = @_;
    return bless {socket => $socket}, $class;
}

# Public methods

# A shutdown ends the response, though other processes may hold the socket.
sub close {
    my $self   = shift;
    my $socket = delete $self->{socket} or return;
    shutdown $socket, 1;
    return;
}

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
__END__

=encoding utf8

=head1 NAME

EventSource::XS::Stream::Writer::Socket - A PSGI writer on the client's socket

=head1 SYNOPSIS

    use EventSource::XS::Stream::Writer::Socket;
    use Socket qw(AF_UNIX PF_UNSPEC SOCK_STREAM);

    socketpair my $client, my $server, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die $!;
    my $writer = EventSource::XS::Stream::Writer::Socket->new($server);
    $writer->write("data: hello\n\n");
    $writer->close;
    print scalar readline $client;    # "data: hello"

=head1 DESCRIPTION

For a process that has inherited a stream and cannot use the server's writer: a child that a handler has forked on
uWSGI. The head of the response has been sent. The bytes written are the body, which must not need framing.

=head1 METHODS

=head2 new

    my $writer = EventSource::XS::Stream::Writer::Socket->new($socket);

Make a writer on a socket. Without one every write dies.

=head2 close

    $writer->close;

End the response, though other processes may hold the socket. Does nothing the second time.

=head2 write

    $writer->write($bytes);

Write all bytes, and wait for a slow client. Dies if the client has disconnected.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
