package EventSource::XS::Server::Streams;
use strict;
use warnings;

# The application that answers the requests of an EventSource::Server with streams. Its responses have the headers of that
# server.

our $VERSION = '0.100';

use parent 'Plack::App::EventSource';
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

sub line_end { return 'lf' }

# The hub sends the reconnection time, with the position.
sub opening { return $_[0]->preamble_line }

sub response_headers { return $_[0]->server->headers }

sub stream_response {
    my ($self, $env) = @_;
    return $self->server->refusal($env) || $self->SUPER::stream_response($env);
}

# Private methods

sub _is_drop_in { return !!0 }

1;
__END__

=encoding utf8

=head1 NAME

EventSource::XS::Server::Streams - The streams of an EventSource::Server

=head1 SYNOPSIS

    use EventSource::Server;
    use EventSource::XS::Server::Streams;

    my $server  = EventSource::Server->new;
    my $streams = EventSource::XS::Server::Streams->new(server => $server, handler_cb => sub { $_[0]->push('hello') });
    print "@{$streams->response_headers}\n";

=head1 DESCRIPTION

L<EventSource::Server> answers requests with an object of this class: a L<Plack::App::EventSource> whose responses have
the headers of the server.

=head1 ATTRIBUTES

Besides those of L<Plack::App::EventSource>:

=head2 server

    server => $server

The L<EventSource::Server>, which is required. It is not kept alive: its owner must hold it.

=head1 METHODS

=head2 new

    my $streams = EventSource::XS::Server::Streams->new(%attributes);

Create an application.

=head2 line_end, opening

See L<EventSource::XS::Hub::App>.

=head2 response_headers

    my $headers = $streams->response_headers;

Return the headers of the server, as a reference to an array of names and values.

=head2 stream_response

    my $response = $streams->stream_response($env);

Return the server's L<refusal|EventSource::Server/refusal>, or a code reference that streams.

=head1 SEE ALSO

L<EventSource::Server>, L<Plack::App::EventSource/METHODS FOR SUBCLASSES>

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
