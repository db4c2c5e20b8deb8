# script/demo with the stores: nothing is lost when the hub process is killed.

use lib 't/lib';
use Testing       qw(Demo);
use Testing::Demo qw(demo_ok);

subtest "STORE=$_" => sub { demo_ok($_, gaps => 0) }
    for qw(file redis);

done_testing;
