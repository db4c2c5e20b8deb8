package EventSource::XS::Server::Streams;
use strict;
use warnings;

# The application that answers the requests of an EventSource::Server with streams. Its responses have the headers of that
# server.

use parent 'EventSource::XS::Hub::Streams';
use Plack::Util::Accessor qw(server);
use Scalar::Util          qw(weaken);

# An error reports the line of the application. The server creates this application for it.
our @CARP_NOT = qw(EventSource::Server Plack::App::EventSource);

sub new {
    my ($class, @attributes) = @_;
    my $self = $class->SUPER::new(@attributes);
    weaken $self->{server};
    return $self;
}

# Public methods

sub response_headers { return $_[0]->server->headers }

# Return the server's refusal, or a code reference that streams.
sub stream_response {
    my ($self, $env) = @_;
    return $self->server->refusal($env) || $self->SUPER::stream_response($env);
}

1;
