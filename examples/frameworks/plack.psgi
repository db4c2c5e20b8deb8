# News for users who have logged in, with Plack alone: its middleware for sessions and for HTTP authentication. See
# README.md in this folder.
#
#   plackup -s Starman --workers 1 examples/frameworks/plack.psgi

use strict;
use warnings;

use Encode qw(decode);
use EventSource::Hub;
use Plack::App::EventSource;
use Plack::Builder;
use Plack::Request;

my %password = (anna => 'secret', bob => 'secret');
my $hub      = EventSource::Hub->new;
my %room;

sub respond { my ($status, $text) = @_; return [$status, ['Content-Type' => 'text/plain'], [$text]] }

sub is_right { my ($user, $password) = @_; return $password eq ($password{$user} // "\0") }

sub login {
    my $request = Plack::Request->new(shift);
    my ($user, $password) = map { $request->body_parameters->{$_} // '' } qw(user password);
    return respond(403, 'wrong password') if !is_right($user, $password);
    $request->session->{user}              = $user;
    $request->session_options->{change_id} = 1;       # nobody knows the id from before the login
    return respond(200, "hello $user");
}

sub news {
    my $text = Plack::Request->new(shift)->body_parameters->{text} // '';
    return respond(200, $hub->publish(news => decode('UTF-8', $text)));
}

# The events, and everybody sees who comes and goes.
sub enter {
    my ($conn, $env) = @_;
    my $user = $env->{'psgix.session'}{user};
    $room{$conn} = $conn;
    $conn->on_close(sub { delete $room{$_[0]}; $hub->publish(news => "$user has left") });
    $hub->subscribe($conn, 'news');
    $hub->publish(news => "$user is here");
    return;
}

my $news   = \&news;
my $events = $hub->to_app(channels => sub { 'news' });
my $room   = Plack::App::EventSource->new(handler_cb => \&enter)->to_app;

# Runs an application for users who have logged in.
sub for_users {
    my $app = shift;
    return sub {
        my $env = shift;
        return defined $env->{'psgix.session'}{user} ? $app->($env) : respond(403, 'log in first');
    };
}

builder {
    mount '/staff' => builder {    # without a session: the browser asks for the password
        enable 'Auth::Basic', authenticator => sub { is_right(@_[0, 1]) };
        $events;
    };
    mount '/' => builder {
        enable 'Session';
        mount '/login'  => \&login;
        mount '/news'   => for_users($news);
        mount '/events' => for_users($events);
        mount '/room'   => for_users($room);
    };
};
