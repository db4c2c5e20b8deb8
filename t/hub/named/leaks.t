# t/hub/leaks.t, with hubs in processes of their own.

use strict;
use warnings;

use lib 't/lib';
use Testing::NamedHubs 't/hub/leaks.t';
