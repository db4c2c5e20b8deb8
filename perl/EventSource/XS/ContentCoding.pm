package EventSource::XS::ContentCoding;
use strict;
use warnings;

# The content coding of a response (RFC 9110, section 12.5.3), by the Accept-Encoding of its request. The method best is in
# src/xs/request.xs: it returns the name of the best coding that a client accepts.

use EventSource::XS::Library;

# The codings that streams may have, in the order of their numbers.
my @NAMES = defined &_names ? _names() : 'identity';
my %NUMBER;
@NUMBER{@NAMES} = 0 .. $#NAMES;

# Public methods

sub number { return $NUMBER{$_[1]} }

1;
