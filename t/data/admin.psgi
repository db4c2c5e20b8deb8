# The admin page of a hub at /admin, a stream of a channel at /events?channel=C&member=M&label=L, and /publish?channel=C&data=D.
# ADMIN_SOCKET is the socket of a hub named shop; without it the hub has no name. The page needs ADMIN_TOKEN, if there is one.

use Testing::Application qw(answer parameter);
use EventSource::Hub;
use Plack::Builder;

my $socket = $ENV{ADMIN_SOCKET};
my $hub    = EventSource::Hub->new(
    keep_history => {events => 1000},
    defined $socket ? (name => 'shop', socket => $socket, idle_exit => 5) : ()
);

builder {
    mount '/admin' => $hub->admin_app(allow => sub { 1 }, token => $ENV{ADMIN_TOKEN});
    mount '/events' => $hub->to_app(
        channels => sub { parameter($_[0], 'channel') },
        label    => sub { parameter($_[0], 'label') // () },
        member   => sub {
            my $env = shift;
            my $id  = parameter($env, 'member') // return;
            return {channel => parameter($env, 'channel'), id => $id, json => {name => ucfirst $id}};
        },
        ticket => 60,
    );
    mount '/publish' => sub {
        my $env = shift;
        return answer($hub->publish(parameter($env, 'channel'), parameter($env, 'data')) . "\n");
    };
};
