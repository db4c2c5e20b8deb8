package EventSource::XS::Adapter::Twiggy;
use strict;
use warnings;

# Twiggy: an AnyEvent server whose writer holds an AnyEvent::Handle.
#
# The writer is a Twiggy::Writer, which sends the head at once unless the socket is full. Twiggy does not watch its client.
# So Adapter::watch sets the callbacks of the writer's handle; without them a client that disconnects ends the server.
#
# Behind a filter of the body the handle is not reachable. There the stream watches psgix.io. In a process of a relay
# (Stream::Relay::Process) the class of the writer writes to the socket without the handle.

our $VERSION = '0.100';

use parent 'EventSource::XS::Adapter';
use EventSource::XS::Stream::Writer::Socket;

sub name           { return 'Twiggy' }
sub serving_sub    { return 'Twiggy::Server::run' }
sub writer_classes { return 'Twiggy::Writer' }

# In a process of a relay no event loop runs. What the writer's handle has not sent yet goes first.
sub enter_relay_process {
    my ($class, $server, $stream) = @_;
    my $socket = EventSource::XS::Stream::Writer::Socket->new($stream->socket);
    no warnings 'redefine';
    *Twiggy::Writer::write = sub {
        my ($writer, $bytes) = @_;
        my $handle = $writer->{handle} or return;
        return $socket->write(delete($handle->{wbuf}) . $bytes) if length $handle->{wbuf};
        return $socket->write($bytes);
    };
    *Twiggy::Writer::close = sub { return };
    $stream->write_to_server('');
    return;
}

# A subclass of the server may encrypt: then the state of TLS is that of an AnyEvent::Handle, which needs its loop.
sub relay_descriptor {
    my ($class, $stream, $server) = @_;
    return ref $server eq 'Twiggy::Server' ? $stream->descriptor : undef;
}

# Twiggy reads nothing from a client that it writes to, and its event loop dies of an uncaught error when that client
# disconnects. What the client sends is read and thrown away, or it would wake the loop forever.
sub watch {
    my ($class, $writer, $on_leave) = @_;
    my $handle = $writer->{handle} or return !!1;
    $handle->on_error($on_leave);
    $handle->on_eof($on_leave);
    $handle->on_read(sub { $_[0]{rbuf} = '' });
    return !!1;
}

1;
