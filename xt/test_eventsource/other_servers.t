# The tests of t/test_eventsource that start servers, on those that they leave out.

use lib 't/lib';
use Testing;
use Testing::Others qw(again);

again('t/test_eventsource', 'servers');
