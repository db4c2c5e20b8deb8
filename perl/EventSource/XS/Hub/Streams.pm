package EventSource::XS::Hub::Streams;
use strict;
use warnings;

# An application whose streams follow a hub: their lines end in LF, and the hub sends the reconnection time with the position.

use parent 'Plack::App::EventSource';

our @CARP_NOT = qw(Plack::App::EventSource);

# Public methods

sub line_end { return 'lf' }

sub opening { return $_[0]->preamble_line }

# Private methods

sub _is_drop_in { return !!0 }

1;
