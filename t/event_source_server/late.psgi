# An EventSource::Server with a named hub whose process others start: /events has its streams. HUB_SOCKET is the hub's socket.
# With SUPPLY it has a supply, which emits one event; NATIVE is the setting native.

use Testing::Application qw(answer);
use EventSource::Server;
use Plack::Builder;

my $es = EventSource::Server->new(
    name            => 'test',
    native          => $ENV{NATIVE},
    publish_timeout => 20,
    retry           => 50,
    socket          => $ENV{HUB_SOCKET},
    autostart       => 0,
    $ENV{SUPPLY} ? (supply => sub { $_[0]->emit('begun') }) : (),
);

builder {
    mount '/events' => $es;
    mount '/emit'   => sub { return answer($es->emit('emitted')) };
};
