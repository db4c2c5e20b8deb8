# The application behind t/client/hub.t: a hub that keeps everything, one that evicts early, and a path that publishes.

use Testing::Application qw(answer query);
use EventSource::Hub;
use Plack::Builder;

my %hub = (
    all => EventSource::Hub->new(per_process => 1, retry => 1, keepalive => 0.2, start        => 'oldest'),
    few => EventSource::Hub->new(per_process => 1, retry => 1, keepalive => 0.2, keep_history => {events => 3}),
);

builder {
    mount "/stream/$_" => $hub{$_}->to_app(channels => sub { 'numbers' }) for keys %hub;
    mount '/publish'   => sub {
        my %query = query(shift);
        $hub{$query{hub}}->publish(numbers => $_) for $query{from} .. $query{to};
        return answer("published\n");
    };
};
