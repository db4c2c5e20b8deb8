package EventSource::Framework::Dancer2;
use strict;
use warnings;

# A plugin of Dancer2: keywords that respond to a request with a stream. The response is a delayed one, so that the
# server's responder reaches the stream unchanged.

our $VERSION = '0.100';

use Dancer2::Core::Response;
use Dancer2::Core::Response::Delayed;
use Dancer2::Plugin;
use EventSource::Framework;

our @CARP_NOT = qw(Dancer2::Plugin);

plugin_keywords(qw(event_source events));

# Keywords

sub event_source {
    my ($plugin, @given) = @_;
    return _respond($plugin->app, EventSource::Framework->app(@given));
}

sub events {
    my ($plugin, @given) = @_;
    return _respond($plugin->app, EventSource::Framework->hub_app(@given));
}

# Private functions

# Dancer2's headers are read when the stream begins: Dancer2 adds the cookie of a session after the route.
sub _delayed {
    my ($app, $stream) = @_;
    my $response = $app->response;
    return Dancer2::Core::Response::Delayed->new(
        request  => $app->request,
        response => $response,
        cb       => sub {
            my $respond = $Dancer2::Core::Route::RESPONDER;
            my $headers = $response->headers_to_array;
            $stream->(sub { $respond->(EventSource::Framework->head($_[0], @$headers)) });
            return;
        },
    );
}

# A response without a stream: a refusal.
sub _complete {
    my ($app, $psgi) = @_;
    my ($status, $headers, $body) =
        @{EventSource::Framework->head($psgi, @{$app->response->headers_to_array})};
    my $content  = join '', @$body;
    my $response = Dancer2::Core::Response->new(
        status     => $status,
        headers    => $headers,
        content    => $content,
        is_encoded => 1
    );
    $response->headers->remove_header('Content-Length') if !$response->header('Content-Length');    # Dancer2 adds one
    $app->set_response($response);    # Dancer2 adds the cookie of a session to this one
    return $response;
}

# The route ends here, as with Dancer2's own keywords that send a response.
sub _respond {
    my ($app, $stream_app) = @_;
    my $psgi     = $stream_app->($app->request->env);
    my $response = ref $psgi eq 'CODE' ? _delayed($app, $psgi) : _complete($app, $psgi);
    $app->with_return->($response) if $app->has_with_return;
    return $response;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Framework::Dancer2 - A plugin of Dancer2 for event streams

=head1 SYNOPSIS

    package My::News;
    use Dancer2;
    use EventSource::Framework::Dancer2;
    use EventSource::Hub;

    my $hub = EventSource::Hub->new;

    get '/events' => sub {
        send_error 'log in first', 403 if !session 'user';
        events $hub, 'news', 'user/' . session 'user';
    };
    get '/' => sub {
        event_source sub { my $conn = shift; $conn->push('hello'); $conn->close };
    };
    post '/news' => sub { $hub->publish(news => body_parameters->get('text')) };

    My::News->to_app;

=head1 DESCRIPTION

Two keywords respond with a stream, and end the route, as C<redirect> does. The response has the headers and cookies of the
application. The hooks C<after> run before.

The handler of a stream runs after the route, without the keywords C<session>, C<request> and C<response>: read what it needs
in the route.

=head1 KEYWORDS

=head2 events

    events $hub, @channels;
    events $hub, @channels, {start => 'oldest'};

Stream the events of channels. Hub, channels and options are those of L<EventSource::Framework/hub_app>.

Behind a login, give the streams of a session a label, and L<end|EventSource::Hub/Who reads> them at a logout and at a login,
as F<examples/frameworks/dancer2.psgi> does.

=head2 event_source

    event_source sub { my ($conn, $env) = @_; ... };
    event_source sub { my ($conn, $env) = @_; ... }, keepalive => 30;
    event_source $app;

Call a handler (L<Plack::App::EventSource/handler_cb>). Handler, attributes and application are those of
L<EventSource::Framework/app>.

A handler reads the body with L<Plack::Request>. Feersum 1.410 gives a body only once, and Dancer2 has read it: read
C<body_parameters> in the route there.

=cut
