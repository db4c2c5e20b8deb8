# With replicas => 1 an id means that the replica has the event. Machine A publishes one with a key `once` while the replica is
# cut off: machine B reads and delivers it, but a failover would lose it. A publisher who repeats it at B gets its id only when
# the replica has it, too.

use lib 't/lib';
use Testing qw(Machine Redis);
use Testing::CuttableProxy;
use Testing::RoamingClient;

my $redis    = Testing::Redis->start;
my $proxy    = Testing::CuttableProxy->start($redis->port);
my $replica  = Testing::Redis->start(replica_of => $proxy);
my %settings = (publish_timeout => 2);
my @machines = map { Testing::Machine->start({redis => $redis->url, replicas => 1}, %settings) } 1, 2;
my $client   = Testing::RoamingClient->open($machines[1], channels => 'news');

# Returns how many entries of events a Redis has.
sub entries {
    my $from = shift;
    my ($stream) = grep { !/[.]/ } @{$from->command(KEYS => 'es:{shop}:*')};
    return $from->command(XLEN => $stream) - 1;    # the marker
}

$machines[0]->publish_at_last(news => 'before', once => 'before');
ok $client->has('before'), 'a client of B receives an event of A';
my $before = entries($redis);

$proxy->hold;
is $machines[0]->publish(news => 'event', once => 'key'), 'error unknown',
    'an event that the replica lacks has no id at A';
ok $client->has('event'), 'a client of B receives it';
is $machines[1]->publish(news => 'again', once => 'key'), 'error unknown', 'nor has it one at B';
is entries($replica), $before, 'the replica lacks it, so that a failover would lose it';

$proxy->release;
my ($delivered) = grep { $_->{data} eq 'event' } $client->events;
is $machines[1]->publish_at_last(news => 'again', once => 'key'), $delivered->{id},
    'repeated at B when the replica is back, it has the id that clients know';
ok entries($replica) > $before, 'and the replica has it';

my $stored = entries($redis);
is $machines[1]->publish(news => 'again', once => 'key'), $delivered->{id}, 'repeated once more, too';
is entries($redis),                                       $stored,          'and nothing is stored for that';

$machines[0]->publish_at_last(news => 'after', once => 'after');
ok $client->has('after'), 'the client receives the next event';
is_deeply [map { $_->{data} } $client->events], [qw(before event after)], 'and each event once';
is $client->gaps, 0, 'without a gap';

$client->leave;
$_->end_ok for @machines;

done_testing;
