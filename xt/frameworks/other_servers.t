# The tests of t/frameworks that start servers, on those that they leave out.

use lib 't/lib';
use Testing;
use Testing::OtherServers qw(again);

again('t/frameworks');
