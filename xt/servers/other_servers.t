# The tests of t/servers that start servers, on those that they leave out.

use lib 't/lib';
use Testing;
use Testing::Others qw(again);

again('t/servers', 'servers');
