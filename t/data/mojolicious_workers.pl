# An application of Mojolicious for several workers, which share a hub (t/frameworks/mojolicious_daemon.t).

use EventSource::Hub;
use Mojolicious::Lite;

plugin 'EventSource::Framework::Mojolicious';
app->secrets(['secret']);

my $hub = EventSource::Hub->new(name => 'test');

get '/events' => sub {
    my $c = shift;
    $c->res->headers->header('X-Worker' => $$);
    $c->events($hub, 'news');
};
post '/news' => sub {
    my $c = shift;
    $hub->publish(news => $c->param('text') . " of $$");
    $c->render(text => $$);
};

app->start;
