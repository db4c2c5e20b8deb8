package EventSource::XS::Framework::Mojolicious::PSGI;
use strict;
use warnings;

# Mojolicious under a PSGI server, with streams. The server of Mojolicious returns every response with a body that is read
# line by line, so nothing could be taken over. This one returns the response of a stream instead, as a delayed response.

our $VERSION = '0.100';

use parent 'Mojo::Server::PSGI';
use EventSource::Error;
use EventSource::Framework;
use EventSource::XS::Adapter;
use EventSource::XS::RequestBody;

# In the PSGI environment: true while this class runs the request; the stream's delayed response.
my $RUNNING = 'eventsource.mojolicious.running';
my $STREAM  = 'eventsource.mojolicious.stream';

# Public methods

# The server's class is exchanged before it serves the first request. A class derived from that of Mojolicious may have a
# run of its own, and stays as it is.
sub adopt {
    my ($class, $server) = @_;
    bless $server, $class if ref $server eq 'Mojo::Server::PSGI';
    return;
}

sub respond {
    my ($class, $c, $stream_app) = @_;
    my $env = $c->req->env;
    EventSource::Error->throw(
        code    => 'unsupported',
        message => 'EventSource::Framework::Mojolicious: load the plugin in the application that the PSGI server runs,'
            . ' and respond with a stream before the action returns'
    ) if !$env->{$RUNNING};
    my $psgi = $stream_app->($env);
    return $psgi if ref $psgi ne 'CODE';
    $env->{$STREAM} = $psgi;
    $c->rendered(200);
    return undef;
}

# If the application fails after it has asked for a stream, its response is sent.
sub run {
    my ($self, $env) = @_;
    $env->{$RUNNING} = 1;

    # From an input that can be read only once Mojolicious does not get the body.
    EventSource::XS::RequestBody->buffer($env) if EventSource::XS::Adapter->of_env($env)->reads_body_once;
    my $response = $self->SUPER::run($env);
    my $stream   = delete $env->{$STREAM};
    delete $env->{$RUNNING};
    my ($status, $headers, $body) = @$response;
    return $response if !$stream || $status != 200;
    $body->close;
    return sub {
        my $respond = shift;
        $stream->(sub { $respond->(EventSource::Framework->head($_[0], @$headers)) });
        return;
    };
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::XS::Framework::Mojolicious::PSGI - Mojolicious under a PSGI server, with streams

=head1 SYNOPSIS

    use EventSource::XS::Framework::Mojolicious::PSGI;
    use Mojo::Server::PSGI;

    my $server = Mojo::Server::PSGI->new;
    EventSource::XS::Framework::Mojolicious::PSGI->adopt($server);
    print ref $server, "\n";    # EventSource::XS::Framework::Mojolicious::PSGI

=head1 DESCRIPTION

A L<Mojo::Server::PSGI> that can respond with a stream. L<EventSource::Framework::Mojolicious> uses it when the
application is started by a PSGI server.

=head1 METHODS

=head2 adopt

    EventSource::XS::Framework::Mojolicious::PSGI->adopt($server);

Make a L<Mojo::Server::PSGI> an object of this class. Other objects are not changed.

=head2 respond

    my $response = EventSource::XS::Framework::Mojolicious::PSGI->respond($c, $stream_app);

Call a PSGI application in an action. If it streams, the response of the action is that stream, and C<undef> is
returned. Otherwise return its PSGI response, which the caller renders. Throws an L<EventSource::Error> with the code
C<unsupported> if the server is not of this class, or if the action has returned already.

=head2 run

    my $response = $server->run($env);

Run the application and return its PSGI response. On Feersum, Mojolicious can read the body of the request only with this class.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
