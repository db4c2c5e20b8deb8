# An application whose handler subscribes its stream to a hub in a process of its own, and publishes then. HUB_SOCKET names the
# hub's socket.

use Testing::Application;
use EventSource::Hub;
use Plack::App::EventSource;

my $hub = EventSource::Hub->new(name => 'test', socket => $ENV{HUB_SOCKET}, idle_exit => 1, grace => 1);

Plack::App::EventSource->new(
    native     => 1,
    handler_cb => sub {
        my $conn = shift;
        $hub->subscribe($conn, 'news');
        $hub->publish(news => 'of the handler');
        $conn->push('pushed');
        $hub->publish(news => 'after the push');
    },
)->to_app;
