package Peer::Mojolicious;
use strict;
use warnings;

# The peer in bench/peers/mojolicious: one process of Mojolicious' daemon. A separate process publishes by POSTs.

use parent 'Peer::Posted';
use Testing::Developer qw(has_module);

my $APP = 'bench/peers/mojolicious/app.pl';

# Public methods

sub install_with {
    return [qw(apt-get install -y --no-install-recommends libmojolicious-perl)];
}

sub missing {
    return has_module('Mojolicious') ? undef : 'it is not installed (apt-get install libmojolicious-perl)';
}

# Its limits are 1,000 clients, and 100 requests of a connection, otherwise.
sub command {
    my $self = shift;
    my $url  = 'http://127.0.0.1:' . $self->port;
    return ($^X, $APP, qw(daemon -m production -c 100000 -r 1000000000 -b 1024 -l), $url);
}

sub version {
    require Mojolicious;
    return 'Mojolicious ' . Mojolicious->VERSION;
}

1;
