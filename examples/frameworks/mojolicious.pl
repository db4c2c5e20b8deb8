#!/usr/bin/env perl
# News for users who have logged in, with Mojolicious. See README.md in this folder.
#
#   perl examples/frameworks/mojolicious.pl daemon
#   hypnotoad examples/frameworks/mojolicious.pl
#   plackup -s Starman --workers 1 examples/frameworks/mojolicious.pl

use EventSource::Hub;
use Mojolicious::Lite;

plugin 'EventSource::Framework::Mojolicious';
app->secrets(['change this']);
app->config(hypnotoad => {listen => [$ENV{MOJO_LISTEN} || 'http://*:3000'], workers => 1, accepts => 0});

my %password = (anna => 'secret', bob => 'secret');
my $hub      = EventSource::Hub->new(per_process => 1);
my %room;

post '/login' => sub {
    my $c = shift;
    my ($user, $password) = map { $c->param($_) // '' } qw(user password);
    return $c->render(text => 'wrong password', status => 403) if $password ne ($password{$user} // "\0");
    $c->session(user => $user)->render(text => "hello $user");
};

under sub {
    my $c = shift;
    return 1 if defined $c->session('user');
    $c->render(text => 'log in first', status => 403);
    return undef;
};

post '/news' => sub {
    my $c = shift;
    $c->render(text => $hub->publish(news => $c->param('text')));
};

get '/events' => sub { shift->events($hub, 'news') };

# The same events, and everybody sees who comes and goes.
get '/room' => sub {
    my $c    = shift;
    my $user = $c->session('user');
    $c->event_source(
        sub {
            my $conn = shift;
            $room{$conn} = $conn;
            $conn->on_close(sub { delete $room{$_[0]}; $hub->publish(news => "$user has left") });
            $hub->subscribe($conn, 'news');
            $hub->publish(news => "$user is here");
        }
    );
};

app->start;
