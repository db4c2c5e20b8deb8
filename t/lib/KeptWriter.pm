package KeptWriter;
use strict;
use warnings;

# A PSGI server's writer that keeps what it is given.

sub new { return bless {kept => '', closed => 0}, shift }

# Public methods

sub close { $_[0]{closed}++; return }

sub kept { return $_[0]{kept} }

sub times_closed { return $_[0]{closed} }

sub write { $_[0]{kept} .= $_[1]; return }

1;
