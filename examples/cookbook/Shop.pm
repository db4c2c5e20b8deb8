package Shop;
use strict;
use warnings;

# The hub of a shop, for its application and its scripts: all of them share one, and its settings stand in one place.

use EventSource::Hub;

# SHOP_SOCKET may name its socket, for example if the server has another /tmp than the scripts (PrivateTmp of systemd).
sub hub {
    my %more = @_;
    return EventSource::Hub->new(
        name         => 'shop',
        socket       => $ENV{SHOP_SOCKET},
        keep_history => {events => 500, seconds => 86_400},
        %more
    );
}

1;
