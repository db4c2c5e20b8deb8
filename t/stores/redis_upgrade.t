# An upgrade of a hub whose events wait for a silent Redis is refused, and the process continues with all that waits. After an
# upgrade Redis has the members of the process once: they leave at once.

use lib 't/lib';
use Testing qw(Machine Redis);
use Testing::Client;
use Testing::RoamingClient;
use Testing::Server qw(path);

my $COUNT = 100;

my $redis = Testing::Redis->start(appendonly => 'always');

# Publishes without waiting, events of so many bytes behind their numbers.
sub burst {
    my ($machine, $bytes) = @_;
    return $machine->ask('/burst', channel => 'news', count => $COUNT, bytes => $bytes);
}

sub has_burst {
    my ($client, $bytes) = @_;
    my $rest = ':' . 'x' x $bytes;
    ok $client->has("$COUNT$rest"), 'the client receives all that was published';
    return is_deeply [grep { /\A[0-9]+\Q$rest\E\z/ } $client->data], [map { "$_$rest" } 1 .. $COUNT],
        'each event once and in order';
}

my $machine = Testing::Machine->start({redis => $redis->url}, publish_timeout => 60);
my $client  = Testing::RoamingClient->open($machine, channels => 'news');
$machine->publish_at_last(news => 'before');
ok $client->has('before'), 'a client receives events';
$redis->pause;
like $machine->upgrade, qr/: the hub's store (?:has not answered|is down)/,
    'an upgrade is refused if the store is silent, though nothing waits for it';
burst($machine, 1);
like $machine->upgrade, qr/events wait for the hub's store, which .*, and would be lost/,
    'an upgrade is refused, and says why';
burst($machine, 2);
$redis->resume;
has_burst($client, $_) for 1, 2;
$machine->upgrade_ok;
burst($machine, 3);
has_burst($client, 3);
is $client->gaps, 0, 'no gap';
$client->leave;

my ($state) = @{$redis->command(KEYS => '*.state')};
my $here    = sub { ($redis->command(HGET => $state, '6:peopleann') // '') =~ /\A[^ ,]*((?:,\w+)*) / ? $1 : '' };
my $ann     = Testing::Client->get($machine->port, path('/member', id => 'ann', leave_after => 0, channels => 'news'));
ok wait_until($DEADLINE, sub { $here->() }), 'Redis has a member';
my $former = $here->();
$machine->upgrade_ok;
ok wait_until($DEADLINE, sub { $here->() ne $former }), 'the next program says again that she is here';
unlike $here->(), qr/\Q$former\E/, 'and the one before does so no more';
$ann->leave;
ok wait_until($DEADLINE, sub { !$here->() }), 'she leaves with her stream';
my @refused = grep { length } map { $machine->upgrade } 1 .. 30;
is_deeply \@refused, [], 'a hub whose store has only just begun is upgraded as soon as that is up';
$machine->end_ok;

done_testing;
