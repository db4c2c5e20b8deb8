package EventSource::XS::Framework::Mojolicious::Response;
use strict;
use warnings;

# One response of a server of Mojolicious, as PSGI describes it: a responder, and the writer that it returns. The head is
# that of Mojolicious, after all hooks and with the cookie of the session. Mojolicious sends it when its loop runs, at the
# earliest.

our $VERSION = '0.100';

use Plack::Util ();

sub new {
    my ($class, $c, $stream) = @_;
    return bless {c => $c, tx => $c->tx, stream => $stream}, $class;
}

# Public methods

sub close {
    my $self = shift;
    my $tx   = $self->{tx} or return;
    $tx->res->content->write("0\r\n\r\n") if $self->{is_chunked};
    $tx->res->content->write('');
    $tx->resume;
    return;
}

sub handle { return $_[0]{stream}->handle }

sub head {
    my $self = shift;
    my $res  = $self->{tx}->res->fix_headers;
    return $res->build_start_line . $res->build_headers;
}

sub is_chunked { return $_[0]{is_chunked} }

sub is_writing { return $_[0]{stream}->bytes_waiting > 0 }

sub on_leave {
    my ($self, $callback) = @_;
    $self->{tx}->on(finish => sub { $callback->() });
    return;
}

# The server forgets the connection, and the head if that is in its buffer already, as in an action that has returned. Its
# own descriptor is closed; a duplicate stays open.
sub release {
    my $self = shift;
    $self->{stream}->close;
    delete @$self{qw(c tx stream)};
    return;
}

sub render {
    my ($class,  $c,       $response) = @_;
    my ($status, $headers, $body)     = @$response;
    _set_headers($c, $headers);
    my $content = '';
    Plack::Util::foreach($body, sub { $content .= $_[0] });
    $c->res->body($content);
    $c->rendered($status);
    return;
}

sub respond {
    my ($self, $response) = @_;
    my ($c,    $tx)       = @$self{qw(c tx)};
    my ($status, $headers, $body) = @$response;
    if ($body) {
        $self->render($c, $response);
        return;
    }
    _set_headers($c, $headers);
    my $res = $tx->res;
    $res->headers->connection('close');
    $self->{is_chunked} = $tx->req->version eq '1.1';
    $res->headers->transfer_encoding('chunked') if $self->{is_chunked};
    $res->content->write;
    $c->rendered($status);
    return $self;
}

# The chunks of Mojolicious would end with the next chunk, and a client would wait for that.
sub write {
    my ($self, $bytes) = @_;
    die "the connection is closed\n" if !$self->handle;
    $self->{stream}->timeout(0);
    $bytes = sprintf "%x\r\n%s\r\n", length $bytes, $bytes if $self->{is_chunked} && length $bytes;
    $self->{tx}->res->content->write(length $bytes ? $bytes : undef);
    $self->{tx}->resume;
    return;
}

# Private methods and functions

sub _set_headers {
    my ($c, $headers) = @_;
    my @headers = @$headers;
    my $own     = $c->res->headers;
    my %is_set;
    while (my ($name, $value) = splice @headers, 0, 2) {
        $own->remove($name) if !$is_set{lc $name}++;
        $own->add($name => $value);
    }
    return;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::XS::Framework::Mojolicious::Response - A response of Mojolicious, as PSGI describes it

=head1 SYNOPSIS

    use EventSource::XS::Framework::Mojolicious::Response;
    use Mojo::IOLoop;
    use Mojolicious::Lite;

    get '/' => sub {
        my $c        = shift;
        my $stream   = Mojo::IOLoop->stream($c->tx->connection);
        my $response = EventSource::XS::Framework::Mojolicious::Response->new($c, $stream);
        my $writer   = $response->respond([200, ['Content-Type' => 'text/event-stream']]);
        $writer->write("data: hello\n\n");
        $writer->close;
    };

=head1 DESCRIPTION

A responder and a writer in the sense of PSGI, on a transaction of Mojolicious.
L<EventSource::XS::Framework::Mojolicious::Server> uses it.

=head1 METHODS

=head2 new

    my $response = EventSource::XS::Framework::Mojolicious::Response->new($c, $stream);

Create the response of a controller, on the L<Mojo::IOLoop::Stream> of its connection.

=head2 close

    $response->close;

End the body.

=head2 handle

    my $handle = $response->handle;

Return the handle of the connection; C<undef> if it is closed.

=head2 head

    my $bytes = $response->head;

Return the head that Mojolicious would send. L</respond> has been called before.

=head2 is_chunked

    my $is_chunked = $response->is_chunked;

Return true if the body is chunked, as it is for HTTP/1.1. L</respond> has been called before.

=head2 is_writing

    my $is_writing = $response->is_writing;

Return true if Mojolicious has bytes to send on this connection.

=head2 on_leave

    $response->on_leave(sub { ... });

Have a callback called when the transaction ends.

=head2 release

    $response->release;

Make Mojolicious forget the connection and close its descriptor. The transaction ends.

=head2 render

    EventSource::XS::Framework::Mojolicious::Response->render($c, [$status, \@headers, $body]);

Respond with a complete PSGI response.

=head2 respond

    my $writer = $response->respond([$status, \@headers]);

Begin the response: set its headers and run the hooks of Mojolicious. Nothing is sent before the event loop runs.
Returns the writer, which is the object itself. Given a body too, responds completely and returns nothing.

=head2 write

    $response->write($bytes);

Send the head, if it has not been sent, and these bytes. Dies if the connection is closed.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
