# The application that t/examples/monitoring.t has a monitor read: the metrics of a named hub, for this machine only. HUB_SOCKET
# is where the hub process listens.
#
#   /metrics    what metrics_app says
#   /events     a stream of news
#   /publish    publishes an event, and answers with the process id of the worker

use strict;
use warnings;

use EventSource::Hub;
use Plack::Builder;

my $hub = EventSource::Hub->new(name => 'shop', socket => $ENV{HUB_SOCKET}, spawn => 0);

builder {
    mount '/metrics' => $hub->metrics_app(channels => ['news']);
    mount '/events'  => $hub->to_app(channels => sub { 'news' });
    mount '/publish' => sub {
        $hub->publish(news => 'hello');
        return [200, ['Content-Type' => 'text/plain'], [$$]];
    };
};
