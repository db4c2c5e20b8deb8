package EventSource::XS::Adapter::Twiggy;
use strict;
use warnings;

# Twiggy: an AnyEvent server whose writer has an AnyEvent::Handle.
#
# The writer is a Twiggy::Writer, which sends the head at once unless the socket is full. Twiggy does not watch its client.
# So Adapter::watch sets the callbacks of the writer's handle; without them a client that disconnects ends the server.
#
# Behind a filter of the body the handle is not known. There the stream watches psgix.io. A relay that is to be passed on finds
# the handle by an empty write, and waits until it has sent what it has. In the relay's process (Stream::Relay::Process) the
# class of the writer writes to the socket without the handle.

use parent 'EventSource::XS::Adapter';
use EventSource::XS::Stream::Writer::Socket;
use Scalar::Util qw(weaken);

my $WRITER = 'Twiggy::Writer';

sub name           { return 'Twiggy' }
sub serving_subs   { return 'Twiggy::Server::run' }
sub writer_classes { return $WRITER }

# In a process of a relay no event loop runs.
sub enter_relay_process {
    my ($class, $server, $stream) = @_;
    my $socket = EventSource::XS::Stream::Writer::Socket->new($stream->socket);
    no warnings 'redefine';
    *Twiggy::Writer::write = sub { return $socket->write($_[1]) };
    *Twiggy::Writer::close = sub { return };
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

# The handle's queue is sent by the worker, whose loop sees whether the client reads. Without on_error a client that disconnects
# meanwhile would end the server.
sub when_sent {
    my ($class, $stream, $code) = @_;
    my $writer = _writer_of($stream);
    my $handle = $writer && $writer->{handle} or return !!0;
    weaken $stream;
    $handle->on_error(sub { $stream->end('client') if $stream });
    $handle->on_drain(sub { $_[0]->on_drain(undef); $code->() });
    return !!1;
}

# Private functions

sub _writer_of {
    my $stream = shift;
    my $own    = $stream->server_writer;
    return $own if ref $own eq $WRITER;
    undef $own;
    my $write = $WRITER->can('write');
    no warnings 'redefine';
    local *Twiggy::Writer::write = sub { $own = $_[0]; goto &$write };
    $stream->write_to_server('');
    return $own;
}

1;
