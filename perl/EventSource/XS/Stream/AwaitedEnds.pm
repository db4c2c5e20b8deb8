package EventSource::XS::Stream::AwaitedEnds;
use strict;
use warnings;

# The native streams of this thread whose ends callbacks wait for, by the names under which the reactor reports ends: mostly the
# stream's own, or that of a leash, another stream that ends with what has taken the stream over.
#
# A name ends with the slot of its stream, and an array of slots is smaller than a hash. If a slot has another stream already,
# as it may in a forked child, or if a leash ends, the stream stands under its whole name.

my (@IN_SLOT, %BY_NAME);

# Code that returns the reason of an end by the name of a leash.
my %REASON_OF;

# The streams stay with their thread.
sub CLONE { @IN_SLOT = %BY_NAME = %REASON_OF = (); return }

# Public functions

sub add {
    my $stream = shift;
    my $name   = $stream->_name;
    my $slot   = _slot_of($name);
    if   ($IN_SLOT[$slot]) { $BY_NAME{$name} = $stream }
    else                   { $IN_SLOT[$slot] = $stream }
    return;
}

# The stream ends when the leash does, for the reason that the code returns then.
sub add_leash {
    my ($stream, $name, $reason) = @_;
    take($stream->_name);
    $BY_NAME{$name}   = $stream;
    $REASON_OF{$name} = $reason;
    return;
}

# Forgets the stream that ends under a name. Returns it, and the code for the reason if there is one; nothing if nobody waits.
sub take {
    my $name   = shift;
    my $slot   = _slot_of($name);
    my $is_own = $IN_SLOT[$slot] && $IN_SLOT[$slot]->_name eq $name;
    my $stream = $is_own ? delete $IN_SLOT[$slot] : delete $BY_NAME{$name};
    my $reason = delete $REASON_OF{$name};
    return $stream ? ($stream, $reason) : ();
}

# Private functions

sub _slot_of {
    my ($slot) = $_[0] =~ /([0-9]+)\z/;
    return $slot;
}

1;
