package EventSource::XS::Framework::Mojolicious::Response;
use strict;
use warnings;

# One response of a server of Mojolicious, as PSGI describes it: a responder, and the writer that it returns. The head is
# that of Mojolicious, after all hooks and with the cookie of the session. Mojolicious sends it when its loop runs, at the
# earliest.

use Plack::Util ();

# Create the response of a controller, on the Mojo::IOLoop::Stream of its connection.
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

# True if the application describes the content itself, so that it must not be coded.
sub describes_content {
    my $headers = $_[0]{tx}->res->headers;
    return scalar grep { defined $headers->header($_) } qw(Content-Encoding Content-Length);
}

# Return the head that Mojolicious would send, with a content coding if there is one. respond has been called before.
sub head {
    my ($self, $coding) = @_;
    my $res  = $self->{tx}->res->fix_headers;
    my $head = $res->build_start_line . $res->build_headers;
    $head =~ s/\r\n\z/Content-Encoding: $coding\r\n\r\n/ if defined $coding;
    return $head;
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

# Begin the response: set its headers and run the hooks of Mojolicious. Nothing is sent before the event loop runs. Returns
# the writer, which is the object itself.
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
