# t/hub/relay_forks.t, with named hubs.

use strict;
use warnings;

use lib 't/lib';
use Testing::NamedHubs 't/hub/relay_forks.t';
