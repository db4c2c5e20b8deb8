# Two machines with one Redis that is killed, paused and restarted: nothing is lost, publishing fails in words meanwhile, and
# all recover by themselves. When Redis has lost its data, all clients receive a gap, and everything works afterwards.

use lib 't/lib';
use Testing    qw(Machine Redis);
use File::Path qw(remove_tree);
use Testing::RoamingClient;

my $RECOVERS = 10;    # seconds after the return of Redis, in which hubs find it again, however long it was away

my $redis    = Testing::Redis->start(appendonly => 'always');
my @machines = map { Testing::Machine->start({redis => $redis->url}, publish_timeout => 1) } 1, 2;

sub clients {
    return map { Testing::RoamingClient->open($_, channels => 'news') } @machines, @machines;
}

# Waits until all clients have the same: events whose publish has failed as unknown may come late. They have that data already.
sub have_the_same {
    my ($data, @clients) = @_;
    return wait_until $DEADLINE, sub {
        my %lists = map { $_->has($data); (join(' ', $_->ids) => 1) } @clients;
        return keys %lists == 1;
    };
}

# Redis has come back: nobody has to publish or to connect for the hubs to notice.
sub recovers_ok {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $_->stats_ok(sub { $_[0]{store}{up} }, 'the store is up again within seconds', $RECOVERS) for @machines;
    return;
}

# Publishes on both machines until each has failed, and returns the codes; what was published anyway is added to the ids.
sub failures {
    my $ids = shift;
    my @codes;
    for my $machine (@machines) {
        my $answer;
        wait_until $DEADLINE, sub {
            $answer = $machine->publish(news => 'in between');
            push @$ids, $answer if $answer !~ /\Aerror/;
            return $answer =~ /\Aerror/;
        };
        push @codes, $answer;
    }
    return @codes;
}

subtest 'Redis is killed and started: nothing is lost' => sub {
    my @clients = clients();
    my @ids     = map { $machines[$_ % 2]->publish(news => "before $_", once => "before $_") } 1 .. 10;
    ok $_->has('before 10'), 'a client receives the events' for @clients;
    $redis->kill;
    my @codes = failures(\@ids);
    like $_, qr/\Aerror (?:unavailable|unknown)\z/, 'publishing fails in words' for @codes;
    $_->stats_ok(sub { my $store = $_[0]{store}; !$store->{up} && $store->{last_error} },
        'the counters report that the store is down, and why')
        for @machines;
    my $late = Testing::RoamingClient->open($machines[0], channels => 'news', id => $ids[0]);
    ok $late->has('before 10'), 'a client that comes meanwhile is served from memory';
    ok !$_->{client}->ended,    'the streams stay open' for @clients;
    $redis->restart;
    recovers_ok();
    push @ids, map { $_->publish_at_last(news => 'after ' . $_->port, once => 'after ' . $_->port) } @machines;
    my $last = 'after ' . $machines[-1]->port;

    for my $client (@clients, $late) {
        ok $client->has($last), 'a client receives what is published afterwards';
        is $client->gaps, 0, 'it received no gap';
    }
    have_the_same($last, @clients);
    my @expected = $clients[0]->ids;
    my %is_there = map { ($_ => 1) } @expected;
    is_deeply [grep { !$is_there{$_} } @ids], [], 'each event with an id was received';
    my %times;
    $times{$_}++ for @expected;
    is_deeply [grep { $times{$_} > 1 } keys %times], [], 'none twice';
    is_deeply [$_->ids], \@expected,                     'all clients have the same in the same order' for @clients;
    wait_until($DEADLINE, sub { $late->has($last); $late->ids == @expected - 1 });
    is_deeply [$late->ids],                                 [@expected[1 .. $#expected]],       'also the late one';
    is_deeply [sort grep { /\Abefore/ } $clients[0]->data], [sort map { "before $_" } 1 .. 10], 'nothing is lost';
    $_->stats_ok(sub { my $store = $_[0]{store}; $store->{up} && $store->{reconnects} && !$store->{epoch_changes} },
        'the counters report that the store is up, and no loss')
        for @machines;
    $_->leave for @clients, $late;
};

subtest 'Redis stops for a while, with its connections open' => sub {
    my @clients = clients();
    my @ids     = $machines[0]->publish(news => 'before the pause');
    $redis->pause;
    my @codes = failures(\@ids);
    like $_, qr/\Aerror (?:unavailable|unknown)\z/, 'publishing fails in words' for @codes;
    $redis->resume;
    recovers_ok();
    push @ids, $machines[1]->publish_at_last(news => 'after the pause', once => 'after the pause');
    ok $_->has('after the pause'), 'a client receives what is published afterwards' for @clients;
    have_the_same('after the pause', @clients);

    for my $client (@clients) {
        is $client->gaps, 0, 'it received no gap';
        my %times;
        $times{$_->{id}}++ for $client->events;
        is_deeply [grep { ($times{$_} // 0) != 1 } @ids], [], 'each event with an id was received once';
        is_deeply [$client->ids], [$clients[0]->ids],         'all clients have the same in the same order';
    }
    $_->leave for @clients;
};

subtest 'a hub process begins while Redis is down' => sub {
    my $client = Testing::RoamingClient->open($machines[0], channels => 'news');
    my $id     = $machines[1]->publish(news => 'before both');
    ok $client->has('before both'), 'a client receives an event';
    $redis->kill;
    $machines[0]->kill_hub;
    like $machines[0]->publish(news => 'nowhere'), qr/\Aerror (?:unavailable|unknown)\z/, 'publishing fails in words';
    $redis->restart;
    recovers_ok();
    $machines[0]->publish_at_last(news => 'after both', once => 'after both');
    ok $client->has('after both'), 'the client receives what is published afterwards';
    is $client->gaps, 0, 'it received no gap';
};

# Each way of losing the data.
my %LOSS = (
    'FLUSHALL'          => sub { $redis->command('FLUSHALL') },
    'DEL of all keys'   => sub { $redis->command('DEL', @{$redis->command('KEYS', '*')}) },
    'DEL of the stream' => sub {
        $redis->command('DEL', grep { stream($_) } @{$redis->command('KEYS', '*')});
    },
    'Redis restarted without its data' => sub {
        $redis->kill;
        remove_tree(map { $redis->folder . "/$_" } 'appendonlydir', 'appendonly.aof');    # since Redis 7, and before
        $redis->restart;
    },
);

sub stream { return $redis->command('TYPE', $_[0]) eq 'stream' }

for my $how (sort keys %LOSS) {
    subtest "$how: clients receive a gap, and everything works" => sub {
        my @clients = clients();
        my @ids     = map { $machines[$_ % 2]->publish(news => "$how $_") } 1 .. 4;
        ok $_->has("$how 4"), 'a client receives the events' for @clients;
        my $away = Testing::RoamingClient->open($machines[1], channels => 'news');
        $away->leave;
        my ($epoch) = $ids[0] =~ /\A(\w+)-/;
        $LOSS{$how}->();
        ok $_->has_gaps(1), 'a client receives a gap, without a new event' for @clients;
        my @new = map { $_->publish_at_last(news => 'new ' . $_->port, once => "$how new " . $_->port) } @machines;
        isnt + ($_ =~ /\A(\w+)-/)[0], $epoch, 'ids have a new epoch' for @new;
        my $last = 'new ' . $machines[-1]->port;

        for my $client (@clients) {
            ok $client->has($last), 'a client receives what is published afterwards';
            is_deeply [grep { /\Anew / } $client->data], [map { 'new ' . $_->port } @machines], 'once and in order';
            is $client->gaps, 1, 'it received one gap';
        }
        $away->move($machines[0]);
        ok $away->has_gaps(1), 'a client that was away receives a gap when it comes back';
        $away->move($machines[1]);
        is $away->gaps, 1, 'and not again';
        $_->stats_ok(sub { $_[0]{store}{epoch_changes} && $_[0]{store}{up} }, 'the counters report the loss')
            for @machines;
        $_->leave for @clients, $away;
    };
}

$_->end_ok for @machines;

done_testing;
