package Peer::EventSource;
use strict;
use warnings;

# This module's hub on Starman: bench/streams/app.psgi with one worker, as bench/streams/run measures it. The handler of a
# request in that worker publishes.

use parent -norequire, 'Peer::Floor';
use EventSource::XS ();
use Peer::Floor;

my $SERVER = 'Starman';

# Public methods

sub install_with {
    return [qw(apt-get install -y --no-install-recommends starman)];
}

sub missing {
    my $missing = Target->missing(target());
    return defined $missing ? "$missing (apt-get install starman)" : undef;
}

sub native { return $_[0]{target}->native }

sub target { return 'Starman hub' }

sub version {
    my $starman = eval { require Starman; Starman->VERSION } || '?';
    return "EventSource::XS $EventSource::XS::VERSION, $SERVER $starman, perl " . sprintf '%vd', $^V;
}

1;
