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
our @CARP_NOT = qw(EventSource::Framework Mojolicious::Controller);

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
    EventSource::XS::Settings->warn_once(
        settings => __PACKAGE__
            . ": the plugin has no settings, and ignores $names; the helpers events and event_source have",
        @$place{qw(file line)}
    );
    return;
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

Adds two helpers to an application, each with two names. Each responds to a request with a stream. Headers and cookies that
the application has set, that of a session included, are part of its head, and the hook C<after_dispatch> runs before it.

Load the plugin in the application that the server runs, not in one that is mounted into it.

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

An action is a method of its controller, and Perl finds a method before a helper. So C<< $c->events(...) >> in an action of the
name C<events> would call the action again, without end. C<respond_with_events> and C<respond_with_event_source> are the same
helpers under names that hardly any action has, and C<< $c->helpers->events(...) >> calls the helper in every action. An action
that calls itself in the place of a helper dies with an L<EventSource::Error> that says so, and the response is 500.

=head2 Under Mojolicious' own servers

The stream gets the client's socket, so it is native under C<daemon>, C<prefork> and C<hypnotoad>. Mojolicious closes
its connection as soon as the stream begins:

=over

=item *

The event C<finish> of the controller says that the request is over, not that the client has left. That is C<on_close>
of the connection (L<Plack::App::EventSource::Connection/on_close>). It is called in the event loop.

=item *

Streams do not count as C<clients> of the server, and C<inactivity_timeout> does not end them.

=item *

A worker that stops gracefully does not wait for them. It ends each with a C<retry> of its own, and the clients
reconnect to the next worker. A worker that is killed (C<prefork> and C<hypnotoad> at TERM) cannot. C<hypnotoad> stops
a worker after C<accepts> connections, 10,000 by default; set it to 0.

=item *

Give the hub a L<name|EventSource::Hub/name> if there are several workers: C<< EventSource::Hub->new(name => 'shop') >> is one
hub for all of them. Without a name each worker has a hub of its own, whose events reach the streams of that worker only: then
set C<workers> to 1.

=back

On an encrypted connection the stream is sent by Mojolicious, with the same methods. Such a stream is a connection of
the server, and the memory of a client that does not read is bounded for events of a hub only. With
C<EVENTSOURCE_XS_DEBUG=1> the application's log says so; with C<< native => 1 >> it is an exception.

=head2 Under PSGI

The stream is native if the PSGI server allows it (L<Plack::App::EventSource/native>). The action must respond before it
returns, for a PSGI server does not run the event loop of Mojolicious.

The handler of a stream runs when the action has returned: it must not use the controller. Read what it needs in the
action before.

=head1 HELPERS

=head2 events

    $c->events($hub, @channels);
    $c->events($hub, @channels, {start => 'oldest'});
    $c->events($hub, ['room/7', {start => -50}], ['room/7/people', {start => 'state'}]);
    $c->respond_with_events($hub, @channels);

Stream the events of channels of an L<EventSource::Hub>: names, patterns, and arrays with options of their own, as C<channels>
of L<EventSource::Hub/to_app> returns them. The stream resumes after the id that the client sent (C<Last-Event-ID>). The options
are those of L<EventSource::Hub/to_app>, without C<channels>. A route for POST or another method streams as one for GET does
(L<EventSource::Framework/app>). Returns the controller. Throws an L<EventSource::Error> with the code C<invalid> for anything
else, and with the code C<unsupported> if the server has no connection to stream to, such as CGI. A client causes no exception:
if it has left while the action waited, nothing happens, and a WebSocket, which Mojolicious routes to C<get> as well, is
answered with 400.

=head2 event_source

    $c->event_source(sub { my ($conn, $env) = @_; ... });
    $c->event_source(sub { my ($conn, $env) = @_; ... }, keepalive => 30);
    $c->event_source($app);
    $c->respond_with_event_source($app);

Call a handler with a L<Plack::App::EventSource::Connection> and a PSGI environment. The attributes are those of
L<Plack::App::EventSource>. An object with a method C<to_app>, such as a L<Plack::App::EventSource> that was made when
the application started, responds by itself. Returns and throws as L</events> does.

    post '/answers' => sub {
        my $c        = shift;
        my $question = $c->req->json('/question');
        $c->event_source(sub { my $conn = shift; $conn->push("you asked: $question"); $conn->close });
    };

The environment has the body of the request, too, in C<psgi.input>. Mojolicious has read it in full before. Preamble, epilogue
and unusual spacing of a multipart body may be missing there; its parts are complete. A body that exceeds C<max_request_size> of
the application is answered with 413.

=head1 METHODS

=head2 register

    $plugin->register($app);

Add the helpers to an application. L<Mojolicious/plugin> calls this. The plugin has no settings, and warns of any: give them to
the helpers.

=head1 SEE ALSO

L<EventSource::Framework>, L<EventSource::Hub>, L<Mojolicious::Plugin>; F<examples/frameworks/mojolicious.pl> is a whole
application.

=cut
