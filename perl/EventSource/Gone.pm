package EventSource::Gone;
use strict;
use warnings;

# What a push dies with to end a handler whose client has left, where the application has asked for that.

our $VERSION = '0.100';

use overload '""' => sub { 'EventSource: the client has left' }, fallback => 1;

sub new { return bless {}, shift }

1;
