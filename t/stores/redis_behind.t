# A machine whose connection to Redis is cut lags behind the others. A client that comes to it with a newer id of another
# machine is told of a gap: the hub cannot know yet whether that id exists. It receives everything that follows when the hub
# has caught up; the events that it has received elsewhere come again, after the gap.

use strict;
use warnings;

use lib 't/lib';
use Test::More;
use Testing::CuttableProxy;
use Testing::Machine;
use Testing::Redis;
use Testing::RoamingClient;

Testing::Machine->require_or_skip_all;
Testing::Redis->require_or_skip_all;

my $redis    = Testing::Redis->start;
my $proxy    = Testing::CuttableProxy->start($redis->port);
my @urls     = ($redis->url, $redis->url(port => $proxy->port));
my @machines = map { Testing::Machine->start({redis => $_}, publish_timeout => 1) } @urls;

my ($roams, $stays) = map { Testing::RoamingClient->open($machines[$_], channels => 'news') } 0, 1;
$machines[0]->publish(news => 'before');
ok $_->has('before'), 'a client receives an event' for $roams, $stays;

$proxy->hold;
my @ahead = map { "ahead $_" } 1 .. 3;
$machines[0]->publish(news => $_) for @ahead;
ok $roams->has('ahead 3'), 'a client of the machine that is connected receives more';
like $machines[1]->publish(news => 'nowhere'), qr/\Aerror (?:unavailable|unknown)\z/,
    'the machine that is cut off refuses to publish';
$roams->move($machines[1]);
ok $roams->has_gaps(1), 'a client that comes to it with a newer id is told of a gap';
is_deeply [$roams->data], ['before', @ahead], 'and receives nothing before the hub has caught up';

$proxy->release;
$machines[0]->publish(news => 'after');
ok $_->has('after'), 'all clients receive what is published afterwards' for $roams, $stays;
is_deeply [$stays->data], ['before', @ahead, 'after'], 'a client that has stayed: everything, once and in order';
is $stays->gaps, 0, 'without a gap';
is_deeply [$roams->data], ['before', @ahead, @ahead, 'after'], 'the other one: once more what is after the gap';
is $roams->gaps, 1, 'it was told once';

$_->leave for $roams, $stays;
$_->end_ok for @machines;

done_testing;
