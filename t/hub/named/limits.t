# t/hub/limits.t, with named hubs: max_streams bounds the streams of such a process.

use strict;
use warnings;

use lib 't/lib';
use Testing::NamedHubs 't/hub/limits.t';
