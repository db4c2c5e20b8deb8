package EventSource::XS::Client::Transport::MojoUserAgent;
use strict;
use warnings;

# A request of a client over Mojo::UserAgent, in Mojo::IOLoop.

use Mojo::IOLoop;
use Mojo::UserAgent;
use Scalar::Util qw(weaken);

my $CONNECT_WITHIN = 10;    # seconds

sub loop { return 'Mojo::IOLoop' }

sub open {
    my ($class, $request, $on) = @_;
    my $self = bless {on => $on}, $class;
    weaken(my $weak_self = $self);
    my $agent = $self->{agent} = Mojo::UserAgent->new(
        connect_timeout    => $CONNECT_WITHIN,
        inactivity_timeout => 0,                 # the client has its own
        max_connections    => 0,
        max_redirects      => 0,
        max_response_size  => 0,
    );
    my $tx = $self->{tx} = $agent->build_tx($request->{method} => $request->{url}->as_string);
    my ($sent, $content) = ($tx->req, $tx->res->content);
    $sent->headers->remove($_->[0]) for @{$request->{headers}};
    $sent->headers->add(@$_) for @{$request->{headers}};
    $sent->body($request->{content}) if defined $request->{content};
    $content->auto_decompress(0);
    $content->on(body => sub { $weak_self->_take_head if $weak_self });
    $content->unsubscribe('read')->on(read => sub { $weak_self->_take_body($_[1]) if $weak_self });
    $agent->start($tx => sub { $weak_self->_finish if $weak_self });
    return $self;
}

# Public methods

sub close {
    my $self = shift;
    delete $self->{on};
    my $tx     = delete $self->{tx};
    my $stream = $tx && $tx->connection && Mojo::IOLoop->stream($tx->connection);
    $stream->close if $stream;
    return;
}

sub pause {
    my $stream = $_[0]->_stream;
    $stream->stop if $stream;
    return;
}

sub resume {
    my $stream = $_[0]->_stream;
    $stream->start if $stream;
    return;
}

# Private methods

# The end of the transaction. A response without a body has not said that its head is complete. The library takes a response
# that was cut for one that has ended.
sub _finish {
    my $self     = shift;
    my $tx       = $self->{tx} or return;
    my $response = $tx->res;
    my $has_head = $response->headers->is_finished;
    $self->_take_head if $has_head && !$self->{has_head};
    my $on       = $self->{on} or return;
    my $content  = $response->content;
    my $has_size = $content->is_chunked || length($response->headers->content_length // '');
    my $error    = $tx->error;
    my $trouble =
          $error && !$error->{code}           ? $error->{message}
        : !$has_head                          ? 'the head of the response was cut'
        : $has_size && !$content->is_finished ? 'the stream was cut'
        :                                       undef;
    $self->close;
    $on->{end}->(defined $trouble ? (unavailable => $trouble) : ());
    return;
}

sub _stream {
    my $tx = $_[0]{tx} or return;
    return $tx->connection && Mojo::IOLoop->stream($tx->connection);
}

sub _take_body {
    my ($self, $bytes) = @_;
    $self->{on}{bytes}->($bytes) if $self->{on};
    return;
}

sub _take_head {
    my $self = shift;
    return if $self->{has_head}++ || !$self->{on};
    my $response = $self->{tx}->res;
    my $headers  = $response->headers->to_hash;
    $self->{on}{head}->($response->code, {map { (lc $_ => $headers->{$_}) } keys %$headers}, $response->message);
    return;
}

1;
