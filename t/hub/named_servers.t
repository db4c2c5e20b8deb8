# Tests of t/hub that start servers, with named hubs.

use lib 't/lib';
use Testing;
use Testing::NamedHubs;
use Testing::SideBySide qw(side_by_side);

side_by_side(map { [$_ => Testing::NamedHubs->again($_)] } map { "t/hub/$_.t" } qw(limits relay));
done_testing;
