package EventSource::XS::Hub::Streams;
use strict;
use warnings;

# An application whose streams follow a hub: their lines end in LF, they say their keepalive, and the hub sends the reconnection
# time with the position.

use parent 'Plack::App::EventSource';

our @CARP_NOT = qw(Plack::App::EventSource);

# Public methods

sub line_end { return 'lf' }

# The comment says how long the stream may be silent: a client whose stream is silent for longer knows that something holds it
# back.
sub opening {
    my $self    = shift;
    my $seconds = EventSource::XS::Stream->setting(keepalive => scalar $self->keepalive);
    return $self->preamble_line . ($seconds > 0 ? ": keepalive $seconds\n" : '');
}

# Private methods

# A proxy that compresses may keep an event until the next one. no-transform (RFC 9111, section 5.2.2.6) asks it not to.
sub _cache_control { return $_[0]->SUPER::_cache_control . ', no-transform' }

sub _is_drop_in { return !!0 }

1;
