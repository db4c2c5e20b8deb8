# The application of t/compression/mojolicious.t.

use EventSource::Hub;
use Mojolicious::Lite;
use Plack::App::EventSource;

plugin 'EventSource::Framework::Mojolicious';

my $hub  = EventSource::Hub->new(per_process => 1, compress => 1);
my $ends = Plack::App::EventSource->new(compress => 1, handler_cb => sub { $_[0]->push('one'); $_[0]->close });

get '/hub'  => sub { shift->events($hub, 'news') };
get '/ends' => sub { shift->event_source($ends) };
get '/own'  => sub {
    my $c = shift;
    $c->res->headers->content_encoding('identity');
    $c->event_source($ends);
};
get '/publish' => sub {
    my $c = shift;
    $c->render(text => $hub->publish(news => $c->param('text')));
};

app->start;
