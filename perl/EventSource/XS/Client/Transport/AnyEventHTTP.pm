package EventSource::XS::Client::Transport::AnyEventHTTP;
use strict;
use warnings;

# A request of a client over AnyEvent::HTTP, in whichever loop AnyEvent runs. The library connects, also through a proxy, and
# sends the request. It would read the head, and hand over the connection after it (want_body_handle): it is given a head of
# this module, so that it hands over at once.

use parent 'EventSource::XS::Client::Transport';
use AnyEvent;
use AnyEvent::HTTP qw(http_request);

my $HEAD = "HTTP/1.1 200 OK\r\n\r\n";

sub loop { return 'AnyEvent' }

sub open {
    my ($class, $request, $on) = @_;
    my $self    = $class->new($on);
    my $link    = $self->{link};
    my %headers = (map({ (lc $_->[0] => $_->[1]) } @{$request->{headers}}), referer => undef, te => undef);
    local $AnyEvent::HTTP::MAX_PER_HOST = 1_000_000;    # a stream occupies no place of other requests
    $self->{guard} = http_request(
        $request->{method} => $request->{url}->as_string,
        body               => $request->{content},
        headers            => \%headers,
        handle_params      => _handing_over($request->{url}->scheme, $link),
        keepalive          => 0,
        persistent         => 0,
        recurse            => 0,
        timeout            => 86_400,                                          # the client has its own
        tls_ctx            => 'high',
        want_body_handle   => 1,
        sub { $$link->_take_handle(@_) if $$link },
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

sub resume {
    my $self = shift;
    my $link = $self->{link};
    $self->{handle}->on_read(sub { $$link->take(delete $_[0]{rbuf}) if $$link }) if $self->{handle};
    return;
}

# Private functions and methods

# The parameters of the connection. It can be given the head when it exists; but with TLS only then, not before, since what is
# read before is taken for a part of TLS, or of a proxy's answer.
sub _handing_over {
    my ($scheme, $link) = @_;
    my $hand_over = sub {
        my $handle = shift;
        $handle->unshift_read(sub { $_[0]{rbuf} = $HEAD . ($_[0]{rbuf} // ''); 1 });
    };
    return {on_drain => sub { $_[0]->on_drain(undef); $hand_over->(@_) }} if $scheme eq 'http';
    return {
        on_starttls => sub {
            my ($handle, $is_done, $text) = @_;
            if    ($is_done) { $hand_over->($handle) }
            elsif ($$link)   { $$link->lost($text) }
        }
    };
}

# Without a connection there is an error.
sub _take_handle {
    my ($self, $handle, $result) = @_;
    return $self->lost($result->{Reason}) if !$handle;
    $self->{handle} = $handle;
    my $link = $self->{link};
    $handle->timeout(0);
    $handle->on_error(sub { $$link->lost($_[2]) if $$link });
    $handle->on_eof(sub { $$link->lost if $$link });
    $self->resume;
    return;
}

1;
