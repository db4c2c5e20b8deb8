# t/hub/slow.t, with named hubs.

use strict;
use warnings;

use lib 't/lib';
use Testing::NamedHubs 't/hub/slow.t';
