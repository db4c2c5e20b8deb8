# The memory of a hub is bounded: what it would keep without bounds is more than is allowed. xt has a million events.

use lib 't/lib';
use Testing;
use Testing::HubMemory qw(is_bounded);

is_bounded(large => 200, channels => [100_000, 1_000]);
