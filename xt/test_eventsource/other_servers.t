# The tests of t/test_eventsource that start servers, on those that they leave out.

use lib 't/lib';
use Testing;
use Testing::OtherServers qw(again);

again('t/test_eventsource');
