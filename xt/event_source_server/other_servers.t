# The tests of t/event_source_server that start servers, on those that they leave out.

use lib 't/lib';
use Testing;
use Testing::Others qw(again);

again('t/event_source_server', 'servers');
