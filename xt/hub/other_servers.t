# The tests of t/hub that start servers, on those that they leave out.

use lib 't/lib';
use Testing;
use Testing::Others qw(again);

again('t/hub', 'servers');
