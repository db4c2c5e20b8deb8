# The application of Testing::OutboxChaos: streams of a named hub that keeps its events in a file, into which followers publish
# what an outbox holds. The environment has the hub's socket, and its store as JSON.
#
#   /hub    a stream of all channels, which begins with their state

use Testing::Application;
use EventSource::Hub;
use JSON::PP ();
use Plack::Builder;

my $hub = EventSource::Hub->new(
    name               => 'chaos',
    socket             => $ENV{HUB_SOCKET},
    keep_history       => {events => 1_000_000, bytes => 1 << 28},
    idle_exit          => 5,
    native             => 1,
    keep_total_history => {events => 1_000_000, bytes => 1 << 28},
    store              => JSON::PP->new->decode($ENV{HUB_STORE}),
);

builder {
    mount '/hub' => $hub->to_app(
        channels => sub {
            return (qw(chat), map { "stock/$_" } 0 .. 3);
        },
        start => 'state'
    );
};
