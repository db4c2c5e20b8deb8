# A machine whose connection to Redis is cut lags behind the others. A client that comes to it with a newer id of another
# machine waits until the hub has read so far, also if the hub notices meanwhile that Redis does not answer: nothing is
# repeated, and there is no gap. With an id that never existed it receives a gap. The same if the
# history is full, where each batch of entries evicts others.

use lib 't/lib';
use Testing qw(Machine Redis);
use Testing::CuttableProxy;
use Testing::RoamingClient;
use Time::HiRes qw(time);

my $HANDLER    = 7;      # seconds: longer than subscriptions wait for a handler
my $FULL       = 120;    # events of the history
my $TRAVELLERS = 4;
my $BATCH      = 20;     # events before each that travellers wait for
my $ROUNDS     = 3;
my $DELAY      = 0.3;    # seconds

my $redis    = Testing::Redis->start;
my $proxy    = Testing::CuttableProxy->start($redis->port);
my @urls     = ($redis->url, $redis->url(port => $proxy->port));
my @machines = map { Testing::Machine->start({redis => $_}, publish_timeout => 1) } @urls;

my ($roams, $stays) = map { Testing::RoamingClient->open($machines[$_], channels => 'news') } 0, 1;
$machines[0]->publish(news => 'before');
ok $_->has('before'), 'a client receives an event' for $roams, $stays;

my @ahead = map { "ahead $_" } 1 .. 6;

sub go_ahead {
    my @data = @_;
    $proxy->hold;
    $machines[0]->publish(news => $_) for @data;
    ok $roams->has($data[-1]), 'a client of the machine that is connected receives more';
    $roams->head_for($machines[1]);
    return;
}

go_ahead(@ahead[0 .. 2]);
like $machines[1]->publish(news => 'nowhere'), qr/\Aerror (?:unavailable|unknown)\z/,
    'the machine that is cut off refuses to publish';
is_deeply [$roams->data], ['before', @ahead[0 .. 2]],
    'a client that comes to it receives nothing before it has caught up';
$proxy->release;
$machines[0]->publish(news => 'after');
ok $_->has('after'), 'all clients receive what is published afterwards' for $roams, $stays;
is_deeply [$_->data], ['before', @ahead[0 .. 2], 'after'], 'everything, once and in order' for $roams, $stays;
is $_->gaps, 0, 'without a gap' for $roams, $stays;

$roams->move($machines[0]);
go_ahead(@ahead[3 .. 5]);
my $since = time;
$machines[1]->stats_ok(sub { !$_[0]{store}{up} }, 'the machine sees that it is cut off');
like $machines[1]->upgrade, qr/the hub's store is down/, 'it is not upgraded meanwhile';
$machines[1]->publish(news => 'nowhere') while time < $since + $HANDLER;
is $roams->has_gaps_now, 0, 'a client that waits receives no gap, also when a handler has had its time';
$proxy->release;
$machines[0]->publish(news => 'at last');
ok $_->has('at last'), 'all clients receive what is published then' for $roams, $stays;
is_deeply [$_->data], ['before', @ahead[0 .. 2], 'after', @ahead[3 .. 5], 'at last'], 'everything, once and in order'
    for $roams, $stays;
is $_->gaps, 0, 'without a gap' for $roams, $stays;

my $invented = $roams->last_id =~ s/-\d+\z/-9000000000000000000/r;
my $stranger = Testing::RoamingClient->open($machines[1], channels => 'news', id => $invented);
ok $stranger->has_gaps(1), 'a client with an id that never existed receives a gap';

$_->leave for $roams, $stays, $stranger;

# The normal state: the history is full, so that each batch evicts, and one machine is always a moment behind.
$_->restart(keep_history => {events => $FULL}) for @machines;
$machines[0]->publish(news => "filler $_") for 1 .. $FULL + 10;
my @travellers = map { Testing::RoamingClient->open($machines[0], channels => 'news') } 1 .. $TRAVELLERS;
$machines[1]->stats_ok(sub { $_[0]{store}{up} }, 'the other machine is there');
$proxy->delay($DELAY);
for my $number (1 .. $ROUNDS * $TRAVELLERS) {
    my $traveller = $travellers[$number % $TRAVELLERS]->move($machines[0]);
    $machines[0]->publish(news => "filler $_") for 1 .. $BATCH;
    $machines[0]->publish(news => "number $number");
    $traveller->has("number $number");
    $traveller->head_for($machines[1]);
}
$machines[0]->publish(news => 'the end');
for my $at (0 .. $#travellers) {
    my $traveller = $travellers[$at];
    ok $traveller->has('the end'), "client $at has come through";
    is $traveller->gaps, 0, 'without a gap, though it came ahead of a machine with a full history';
    is_deeply [grep { /number/ } $traveller->data], [map { "number $_" } 1 .. $ROUNDS * $TRAVELLERS],
        'with every event, once and in order';
}
$proxy->delay(0);
$_->leave  for @travellers;
$_->end_ok for @machines;

done_testing;
