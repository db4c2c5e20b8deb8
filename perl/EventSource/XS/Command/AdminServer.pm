package EventSource::XS::Command::AdminServer;
use strict;
use warnings;

# The server of `eventsource admin`. HTTP::Server::PSGI reads a body before the application is asked, and as many bytes at once
# as the client says that there are: so the head decides first whether the request is refused.

use parent 'HTTP::Server::PSGI';
use EventSource::XS::RequestBody;
use EventSource::XS::Response;
use Plack::HTTPParser qw(parse_http_request);

my $MAX_BODY = 2_097_152;    # bytes

# The request that HTTP::Server::PSGI sees in place of one that is refused: it has no body to wait for.
my $WITHOUT_BODY = "GET / HTTP/1.0\r\n\r\n";

# Options are those of HTTP::Server::PSGI, with a listen_sock of EventSource::XS::Command::AdminSocket; and refusal, which
# returns the response for a request that is refused.
sub new {
    my ($class, %given) = @_;
    my $self = $class->SUPER::new(%given);
    $self->{refusal} = $given{refusal};
    return $self;
}

sub handle_connection {
    my ($self, $env, $socket, $app) = @_;
    my $refusal = $self->_refusal($socket->head, {%$env});
    local $self->{head} = $refusal ? $WITHOUT_BODY : $socket->head;
    return $self->SUPER::handle_connection($env, $socket, $refusal ? sub { return $refusal } : $app);
}

# Begins with what the socket has read already. The buffer is the caller's.
sub read_timeout {
    my ($self, @given) = @_;
    my $head = delete $self->{head} // return $self->SUPER::read_timeout(@given);
    ${$given[1]} = $head;
    return length $head;
}

# Private methods

sub _refusal {
    my ($self, $bytes, $env) = @_;
    my $problem =
        parse_http_request($bytes, $env) < 0
        ? [400, 'This is no request']
        : EventSource::XS::RequestBody->refusal($env);
    my $refusal = $problem ? EventSource::XS::Response->text(@$problem) : $self->{refusal}->($env);
    $refusal = EventSource::XS::Response->text(413, 'The body is too large')
        if !$refusal && ($env->{CONTENT_LENGTH} || 0) > $MAX_BODY;
    return $refusal && EventSource::XS::Response->for_method($env->{REQUEST_METHOD} // '', $refusal);
}

1;
