# The memory of a hub is bounded, however many events and channels there are.

use lib 't/lib';
use Testing;
use Testing::HubMemory qw(is_bounded);

is_bounded(large => 1500, small => [1_000_000, 7], channels => [600_000, 12]);
