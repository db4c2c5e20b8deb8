# An application of Mojolicious whose actions have the names of helpers (t/frameworks/mojolicious_controllers.t). A recursion
# without end dies at perl's warning, before it has taken the memory.

use strict;
use warnings;

package My::App::Controller::Hiding;
use Mojo::Base 'Mojolicious::Controller';
use Mojo::IOLoop;

sub event_source {
    my $c = shift;
    return $c->event_source(sub { $_[0]->close });
}

sub events {
    my $c = shift;
    return $c->events($c->app->hub, 'news') if !$c->param('how');
    return $c->events(undef,        'news') if $c->param('how') eq 'without a hub';
    $c->render_later;
    Mojo::IOLoop->next_tick(
        sub {
            eval { $c->events($c->app->hub, 'news'); 1 } or $c->render(text => "$@", status => 500);
        }
    );
    return undef;
}

package My::App::Controller::Heir;
use Mojo::Base 'My::App::Controller::Hiding';

package My::App::Controller::Knowing;
use Mojo::Base 'Mojolicious::Controller';

sub event_source {
    my $c = shift;
    $c->respond_with_event_source(sub { $_[0]->push('pushed'); $_[0]->close });
}

sub events {
    my $c = shift;
    $c->app->hub->publish(news => 'published');
    $c->respond_with_events($c->app->hub, 'news', {start => 'oldest'});
}

# Actions with the other names of the helpers.
package My::App::Controller::Aliased;
use Mojo::Base 'Mojolicious::Controller';

sub by_proxy {
    my $c = shift;
    $c->app->hub->publish(news => 'by the proxy');
    $c->helpers->respond_with_events($c->app->hub, 'news', {start => 'oldest'});
}

sub respond_with_event_source {
    my $c = shift;
    $c->respond_with_event_source(sub { $_[0]->close });
}

sub respond_with_events {
    my $c = shift;
    $c->respond_with_events($c->app->hub, 'news');
}

# The action that is asked for calls another one, for which nobody has asked yet.
package My::App::Controller::Beside;
use Mojo::Base 'Mojolicious::Controller';

sub all    { my $c = shift; $c->events($c->app->hub, 'news') }
sub events { my $c = shift; $c->events($c->app->hub, 'news') }

# An ordinary action, which another one calls, with an argument of its own.
package My::App::Controller::Calendar;
use Mojo::Base 'Mojolicious::Controller';

sub events { my ($c, $year) = @_; $c->render(text => 'of ' . ($year // 'this year')) }
sub past { my $c = shift; $c->events(1969) }

package My::App;
use Mojo::Base 'Mojolicious';
use EventSource::Hub;

has hub => sub { EventSource::Hub->new(per_process => 1) };

sub startup {
    my $self = shift;
    $self->plugin('EventSource::Framework::Mojolicious');
    $self->routes->get("/$_" =~ s/#/-/r)->to($_)
        for 'beside#all', map({ "aliased#$_" } qw(by_proxy respond_with_event_source respond_with_events)),
        map { ("$_#events", "$_#event_source", "$_#past") } qw(hiding heir knowing calendar);
    return;
}

package main;
use Mojolicious::Commands;

BEGIN {
    @INC{map { "My/App$_.pm" } '', map { "/Controller/$_" } qw(Aliased Calendar Heir Hiding Knowing)} = (__FILE__) x 6;
}

$SIG{__WARN__} = sub { die @_ if $_[0] =~ /\ADeep recursion/; print STDERR @_ };
Mojolicious::Commands->start_app('My::App');
