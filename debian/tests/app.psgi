# An application with streams of the hub that HUB names. HUB_SOCKET is its socket, if it is a service of its own.

use strict;
use warnings;

use EventSource::Hub;
use Plack::Builder;

my %service = $ENV{HUB_SOCKET} ? (socket => $ENV{HUB_SOCKET}, autostart => 0) : ();
my $hub     = EventSource::Hub->new(name => $ENV{HUB}, keepalive => 5, %service);

builder {
    mount '/events' => $hub->to_app(channels => sub { return 'news' });
    mount '/hub.js' => EventSource::Hub->script_app;
};
