package HTTP::ServerEvent;
use strict;
use warnings;

our $VERSION = '0.100';

use EventSource::XS ();

1;
