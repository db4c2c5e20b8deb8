# t/hub/in_process.t, with named hubs.

use strict;
use warnings;

use lib 't/lib';
use Testing::NamedHubs 't/hub/in_process.t';
