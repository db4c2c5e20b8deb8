# Nodes to which every client may publish, of a hub with a short history; and the statistics of the hub.

use Testing::Application qw(answer);
use EventSource::Hub;
use JSON::PP ();
use Plack::App::EventSource::PubSub;
use Plack::Builder;

my $hub    = EventSource::Hub->new(per_process => 1, keep_total_history => {events => 50, bytes => 1_000_000});
my $pubsub = Plack::App::EventSource::PubSub->new(hub => $hub, authorize => sub { 1 });

builder {
    mount '/eventsource' => $pubsub->to_app;
    mount '/stats'       => sub { return answer(JSON::PP::encode_json($hub->stats)) };
};
