package EventSource::XS::SocketPair;
use strict;
use warnings;

# Two sockets that are connected, for bytes: PERLIO can give every new handle a layer that decodes, and from such a handle
# sysread reads nothing.

use Socket qw(AF_UNIX PF_UNSPEC SOCK_STREAM);

# Return both; nothing, with $!, if the system has none.
sub open {
    socketpair my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC or return;
    binmode $_ for $ours, $theirs;
    return ($ours, $theirs);
}

1;
