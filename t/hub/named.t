# Tests of t/hub with named hubs. named_servers.t does the same with tests that start servers.

use lib 't/lib';
use Testing;
use Testing::NamedHubs;
use Testing::SideBySide qw(side_by_side);

side_by_side ['t/hub/taint.t', '-T', Testing::NamedHubs->again('t/hub/taint.t')],
    ['state.t, in a file', Testing::NamedHubs->again('t/hub/state.t', 'file')],
    map { [$_ => Testing::NamedHubs->again($_)] }
    map { "t/hub/$_.t" }
    qw(channels drain history leaks members publish publish_options relay_forks resume settings state threads topics wire);
done_testing;
