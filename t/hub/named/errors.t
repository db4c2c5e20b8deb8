# t/hub/errors.t, with hubs in processes of their own.

use strict;
use warnings;

use lib 't/lib';
use Testing::NamedHubs 't/hub/errors.t';
