# An application whose hub process runs in another container (compose.yaml). Replace it by your own:
#
#   FROM eventsource-xs
#   COPY app.psgi /srv/events/
use strict;
use warnings;

use EventSource::Hub;
use Plack::Builder;

# The sockets are on a volume. autostart => 0: this container starts no hub process of its own.
my $hub = EventSource::Hub->new(name => $ENV{EVENTSOURCE_HUB}, autostart => 0, retry => [1000, 3000]);

builder {
    mount '/events' => $hub->to_app(channels => sub { 'news' });
};
