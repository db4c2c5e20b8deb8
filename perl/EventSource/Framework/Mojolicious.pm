package EventSource::Framework::Mojolicious;
use strict;
use warnings;

# A plugin of Mojolicious: helpers that respond to a request with a stream, under Mojolicious' own servers and under PSGI.

our $VERSION = '0.100';

use parent 'Mojolicious::Plugin';
use EventSource::Error;
use EventSource::Framework;
use EventSource::XS::Framework::Mojolicious::HiddenHelper;
use EventSource::XS::Framework::Mojolicious::PSGI;
use EventSource::XS::Framework::Mojolicious::Response;
use EventSource::XS::Framework::Mojolicious::Server;
use EventSource::XS::Response;
use EventSource::XS::Settings;
use Scalar::Util qw(weaken);

# Helpers are called by way of the controller.
our @CARP_NOT = qw(Mojolicious::Controller);

# Each helper has a second name, which hardly any action has.
my %SECOND_NAME = (event_source => 'respond_with_event_source', events => 'respond_with_events');

# What an action with a name of a helper writes to call the helper: no action hides those of the method helpers.
my %INSTEAD = (%SECOND_NAME, map { ($_ => "helpers->$_") } values %SECOND_NAME);

# Public methods

sub register {
    my ($self, $app, $settings) = @_;
    _warn_of_settings(sort keys %$settings) if $settings && %$settings;
    my @servers;
    $app->hook(
        before_server_start => sub {
            my $server = shift;
            return EventSource::XS::Framework::Mojolicious::PSGI->adopt($server) if !$server->can('ioloop');
            @servers = grep { $_ } @servers;
            push @servers, $server;
            weaken $_ for @servers;
            return;
        }
    );
    my %make = (event_source => 'app', events => 'hub_app');
    for my $helper (keys %make) {
        my $make    = $make{$helper};
        my $respond = sub {
            my ($c, @given) = @_;
            return _respond($c, EventSource::Framework->$make(@given), @servers);
        };
        $app->helper($_ => $respond) for $helper, $SECOND_NAME{$helper};
    }
    $app->hook(
        around_action => sub {
            my ($next, $c, $action) = @_;
            EventSource::XS::Framework::Mojolicious::HiddenHelper->watch($c, $action, %INSTEAD);
            return $next->();
        }
    );
    return $self;
}

# Private functions

sub _respond {
    my ($c, $stream_app, @servers) = @_;
    my $tx = $c->tx;
    return $c if !$tx || $tx->is_finished;    # the client has left while the action waited

    # Mojolicious takes a handshake to a route for GET, too: any client may send one.
    return $c->render(status => 400, text => 'A WebSocket cannot become a stream') && $c if $tx->is_websocket;
    my $is_psgi  = $c->req->env->{'psgi.version'};
    my $class    = 'EventSource::XS::Framework::Mojolicious::' . ($is_psgi ? 'PSGI' : 'Server');
    my $response = $class->call_app($c, _with_body($c->req, $stream_app), @servers);
    EventSource::XS::Framework::Mojolicious::Response->render($c, $response) if $response;
    return $c;
}

sub _warn_of_settings {
    my $names = join ', ', map { "'$_'" } @_;
    my $place = EventSource::Error->outside(qr/\AMojolicious(?:::|\z)/);
    my $text  = "the plugin has no settings, and ignores $names; the helpers events and event_source have";
    return EventSource::XS::Settings->new(__PACKAGE__)->warn_once(settings => $text, @$place{qw(file line)});
}

# The application of a stream, whose handler can read the body of the request. Mojolicious has read it from the server, keeps
# a multipart body in parts, and stops at its limit.
sub _with_body {
    my ($req, $stream_app) = @_;
    return sub { return EventSource::XS::Response->text(413, 'The request is too large') }
        if $req->is_limit_exceeded && $req->method ne 'GET';
    return $stream_app if !$req->is_finished;    # the server has no more of it either: 400
    my ($body, $piece) = ('');
    $body .= $piece while defined($piece = $req->content->get_body_chunk(length $body)) && length $piece;
    return sub {
        my $env = shift;
        open my $input, '<', \$body or die "EventSource::Framework::Mojolicious: $!\n";
        @$env{qw(psgi.input psgix.input.buffered)} = ($input, !!1);
        $env->{CONTENT_LENGTH} = length $body if defined $env->{CONTENT_LENGTH};
        return $stream_app->($env);
    };
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Framework::Mojolicious - A plugin of Mojolicious for event streams

=head1 SYNOPSIS

    use EventSource::Hub;
    use Mojolicious::Lite;

    plugin 'EventSource::Framework::Mojolicious';

    my $hub = EventSource::Hub->new;

    get '/events' => sub {
        my $c = shift;
        return $c->render(text => 'log in first', status => 403) if !$c->session('user');
        $c->events($hub, 'news', 'user/' . $c->session('user'));
    };
    get '/' => sub {
        my $c = shift;
        $c->event_source(sub { my $conn = shift; $conn->push('hello'); $conn->close });
    };
    post '/news' => sub {
        my $c = shift;
        $hub->publish(news => $c->param('text'));
        $c->rendered(204);
    };

    app->start;

=head1 DESCRIPTION

Two helpers respond with a stream. The response has the headers and cookies of the application. The hook C<after_dispatch> runs
before. Load the plugin in the application that the server runs, not in one that is mounted into it.

=head2 A full application

    # lib/News.pm
    package News;
    use Mojo::Base 'Mojolicious';
    use EventSource::Hub;

    has hub => sub { EventSource::Hub->new };

    sub startup {
        my $self = shift;
        $self->plugin('EventSource::Framework::Mojolicious');
        $self->routes->get('/events')->to('stream#events');
        $self->routes->post('/news')->to('stream#publish');
    }

    1;

    # lib/News/Controller/Stream.pm
    package News::Controller::Stream;
    use Mojo::Base 'Mojolicious::Controller';

    sub events {
        my $c = shift;
        $c->respond_with_events($c->app->hub, 'news');
    }

    sub publish {
        my $c = shift;
        $c->app->hub->publish(news => $c->param('text'));
        $c->rendered(204);
    }

    1;

    # news.pl
    use Mojolicious::Commands;
    Mojolicious::Commands->start_app('News');

Perl finds a method before a helper, so C<< $c->events(...) >> in an action of the name C<events> would call the action: it dies
with an L<EventSource::Error> that says so. C<respond_with_events> and C<respond_with_event_source> are the same helpers.

=head2 Under Mojolicious' own servers

Streams are native under C<daemon>, C<prefork> and C<hypnotoad>. As soon as the stream begins, Mojolicious closes its
connection, and the event C<finish> of the controller comes. L<on_close|Plack::App::EventSource::Connection/on_close> says
that the client has left. Streams do not count as C<clients>, and C<inactivity_timeout> does not end them.

A worker that stops gracefully ends each with a C<retry> of its own; one that is killed (C<prefork> and C<hypnotoad> at TERM)
cannot. C<hypnotoad> stops a worker after C<accepts> connections, 10,000 by default; set it to 0.

On an encrypted connection Mojolicious sends the stream, and the memory of a client that does not read is bounded for events of
a hub only. With C<< native => 1 >> that is an exception.

=head2 Under Test::Mojo

C<get_ok> waits for the end of the response, which a stream does not have. L<EventSource::Cookbook/TEST YOUR APPLICATION> has a
test that reads a stream meanwhile.

=head2 Under PSGI

The action must respond before it returns. The handler of a stream runs after that, without the controller: read what it needs
in the action.

=head1 HELPERS

=head2 events

    $c->events($hub, @channels);
    $c->events($hub, @channels, {start => 'oldest'});
    $c->respond_with_events($hub, @channels);

Stream the events of channels. Hub, channels and options are those of L<EventSource::Framework/hub_app>. Returns the
controller. Also throws C<unsupported> if the server has no connection to stream to, such as CGI. A WebSocket, which
Mojolicious routes to C<get> as well, is answered with 400.

=head2 event_source

    $c->event_source(sub { my ($conn, $env) = @_; ... });
    $c->event_source(sub { my ($conn, $env) = @_; ... }, keepalive => 30);
    $c->event_source($app);
    $c->respond_with_event_source($app);

Call a handler (L<Plack::App::EventSource/handler_cb>). Handler, attributes and application are those of
L<EventSource::Framework/app>. Returns and throws as L</events> does.

C<psgi.input> of the environment has the body. A body that exceeds C<max_request_size> of the application is a 413.

=head1 METHODS

=head2 register

    $plugin->register($app);

Add the helpers to an application. The plugin takes no settings.

=cut
