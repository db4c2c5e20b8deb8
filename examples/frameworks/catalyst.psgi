# News for users who have logged in, with Catalyst. See README.md in this folder.
#
#   plackup -s Starman --workers 1 examples/frameworks/catalyst.psgi

use strict;
use warnings;

package News {
    use Catalyst;
    __PACKAGE__->config(name => 'News', encoding => 'UTF-8', psgi_middleware => ['Session']);
    $INC{'News.pm'} = __FILE__;
}

package News::Controller::Root {
    use parent 'Catalyst::Controller';
    use EventSource::Hub;
    use Plack::App::EventSource;

    __PACKAGE__->config(namespace => '');
    $INC{'News/Controller/Root.pm'} = __FILE__;

    my %password = (anna => 'secret', bob => 'secret');
    my $hub      = EventSource::Hub->new;
    my $events   = $hub->to_app(channels => sub { 'news' });
    my %room;

    sub user { return $_[1]->req->env->{'psgix.session'}{user} }

    sub auto : Private {
        my ($self, $c) = @_;
        return 1 if defined $self->user($c) || $c->action eq 'login';
        $c->res->status(403);
        $c->res->body('log in first');
        return 0;
    }

    sub login : Local : POST {
        my ($self, $c)        = @_;
        my ($user, $password) = map { $c->req->body_parameters->{$_} // '' } qw(user password);
        my $is_right = $password eq ($password{$user} // "\0");
        if ($is_right) {
            $c->req->env->{'psgix.session'}{user}              = $user;
            $c->req->env->{'psgix.session.options'}{change_id} = 1;       # nobody knows the id from before the login
        }
        $c->res->status($is_right ? 200           : 403);
        $c->res->body($is_right   ? "hello $user" : 'wrong password');
        return;
    }

    sub news : Local : POST {
        my ($self, $c) = @_;
        $c->res->body($hub->publish(news => $c->req->body_parameters->{text}));
        return;
    }

    sub events : Local {
        my ($self, $c) = @_;
        $c->res->from_psgi_response($events->($c->req->env));
        return;
    }

    # The same events, and everybody sees who comes and goes.
    sub room : Local {
        my ($self, $c) = @_;
        my $user   = $self->user($c);
        my $stream = Plack::App::EventSource->new(
            handler_cb => sub {
                my $conn = shift;
                $room{$conn} = $conn;
                $conn->on_close(sub { delete $room{$_[0]}; $hub->publish(news => "$user has left") });
                $hub->subscribe($conn, 'news');
                $hub->publish(news => "$user is here");
            }
        );
        $c->res->from_psgi_response($stream->to_app->($c->req->env));
        return;
    }
}

News->setup;
News->psgi_app;
