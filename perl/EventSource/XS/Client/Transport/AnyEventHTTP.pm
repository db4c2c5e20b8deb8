package EventSource::XS::Client::Transport::AnyEventHTTP;
use strict;
use warnings;

# A request of a client over AnyEvent::HTTP, in whichever loop AnyEvent runs. The library sends the request and reads the head;
# then it hands over the connection (want_body_handle). It reads a whole chunk before it calls back otherwise, has no way to
# stop reading, and lets only a few such requests to a host exist at once.

use parent 'EventSource::XS::Client::Transport';
use AnyEvent;
use AnyEvent::HTTP qw(http_request);
use EventSource::XS::Client::Framing;
use Scalar::Util qw(weaken);

my $MAX_HEAD = 65_536;    # bytes

sub loop { return 'AnyEvent' }

sub open {
    my ($class, $request, $on) = @_;
    my $self = bless {on => $on}, $class;
    weaken(my $weak_self = $self);
    my %headers = (map({ (lc $_->[0] => $_->[1]) } @{$request->{headers}}), referer => undef, te => undef);
    local $AnyEvent::HTTP::MAX_PER_HOST = 1_000_000;    # a stream occupies no place of other requests
    $self->{guard} = http_request(
        $request->{method} => $request->{url}->as_string,
        body               => $request->{content},
        headers            => \%headers,
        handle_params      => {rbuf_max => $MAX_HEAD},
        keepalive          => 0,
        persistent         => 0,
        recurse            => 0,
        timeout            => 86_400,                       # the client has its own
        tls_ctx            => 'high',
        want_body_handle   => 1,
        sub { $weak_self->_take_head(@_) if $weak_self },
    );
    return $self;
}

# Public methods

sub close {
    my $self = shift;
    delete @$self{qw(guard on)};
    my $handle = delete $self->{handle} or return;
    $handle->destroy;
    return;
}

sub pause {
    my $self   = shift;
    my $handle = $self->{handle} or return;
    $handle->on_read(undef);
    $handle->stop_read;
    return;
}

sub resume { return $_[0]->_read }

# Private methods

# The end of the connection, or an error of it.
sub _lost {
    my ($self, $text) = @_;
    return $self->report_end if $self->{framing}->ends_with_connection;
    return $self->report_end(unavailable => "the stream was cut: $text");
}

sub _read {
    my $self = shift;
    weaken(my $weak_self = $self);
    $self->{handle}->on_read(sub { $weak_self->take_framed(\$_[0]{rbuf}) if $weak_self }) if $self->{handle};
    return;
}

# Without a connection there is an error, or no body.
sub _take_head {
    my ($self, $handle, $headers) = @_;
    return $self->report_end(unavailable => $headers->{Reason}) if !defined $handle;
    $self->{handle}  = $handle if $handle;
    $self->{framing} = EventSource::XS::Client::Framing->new($headers);
    $self->{on}{head}->($headers->{Status}, $headers, $headers->{Reason});
    return                   if !$self->{on};
    return $self->report_end if !$handle;
    weaken(my $weak_self = $self);
    $handle->on_error(sub { $weak_self->_lost($_[2]) if $weak_self });
    $handle->on_eof(sub { $weak_self->_lost('its connection has ended') if $weak_self });
    $self->_read;
    return;
}

1;
