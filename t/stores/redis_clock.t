# The clock of Redis decides how old an event is. On a machine whose clock is minutes away from it, or steps, clients resume and
# keys are remembered as on the others, and so they are in a hub that begins then.

use lib 't/lib';
use Testing qw(Machine Redis FakeClock);
use Testing::RoamingClient;

my $HISTORY = 60;       # seconds
my $AWAY    = 120;      # seconds
my $DAY     = 86_400;

my $clock    = Testing::FakeClock->new($AWAY);
my $redis    = Testing::Redis->start;
my %hub      = (keep_history => {seconds => $HISTORY});
my @machines = map { Testing::Machine->start({redis => $redis->url}, %hub, @$_) } [], [env => {$clock->env}];

# Publishes, and comes to the other machine with the id before: in its memory, and after its process has begun anew.
my $count = 0;

sub resumes_ok {
    my $when  = shift;
    my $first = $machines[0]->publish_at_last(news => 'first ' . ++$count, once => "key $count");
    $machines[0]->publish_at_last(news => "second $count");
    for my $how ('in the memory of a hub', 'in a hub that begins') {
        $machines[1]->kill_hub if $how =~ /begins/;
        my $client = Testing::RoamingClient->open($machines[1], channels => 'news', id => $first);
        ok $client->has("second $count"), "$when: a client resumes $how";
        is_deeply [$client->data, $client->gaps], ["second $count", 0], 'with what it has missed, and no gap';
        is $machines[1]->publish(news => 'again', once => "key $count"), $first, 'a key is remembered';
        cmp_ok $machines[1]->stats->{store}{lag}, '<', 1_000 * $HISTORY, 'the lag is not a difference of clocks';
    }
    return;
}

resumes_ok('ahead of Redis');
for my $seconds (-$AWAY, $DAY, -$DAY) {
    $clock->step($seconds);
    resumes_ok("after a step to $seconds s");
}

# A clock of Redis that has stepped back: its ids continue from the last one.
my ($stream) = @{$redis->command(KEYS => 'es:{shop}:*')};
$redis->command(XADD => $stream, (time + $DAY) * 1_000 . '-0', 'of', 'people');
resumes_ok('after a step back of Redis');
$_->end_ok for @machines;

done_testing;
