package EventSource::XS::Framework::Mojolicious::PSGI;
use strict;
use warnings;

# Mojolicious under a PSGI server, with streams. The server of Mojolicious returns every response with a body that is read
# line by line, so nothing could be taken over. This one returns the response of a stream instead, as a delayed response.

use parent 'Mojo::Server::PSGI';
use EventSource::XS::Settings;
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

# Call a PSGI application in an action. If it streams, the response of the action is that stream, and undef is returned.
# Otherwise return its PSGI response, which the caller renders.
sub call_app {
    my ($class, $c, $stream_app) = @_;
    my $env = $c->req->env;
    EventSource::XS::Settings->new('EventSource::Framework::Mojolicious')
        ->throw(unsupported => 'load the plugin in the application that the PSGI server runs, and respond with a stream'
            . ' before the action returns')
        if !$env->{$RUNNING};
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
