# Three machines with one Redis: each has a hub process of its own and a Starman with two workers. What is published on one is
# received on all, in one order and with one id; clients move between the machines and miss nothing.

use lib 't/lib';
use Testing qw(Machine Redis);
use Testing::RoamingClient;
use Testing::Fork qw(in_child);

my $redis    = Testing::Redis->start;
my @machines = map { Testing::Machine->start({redis => $redis->url}, max_topics => 10) } 1 .. 3;

sub client { my ($number, @option) = @_; return Testing::RoamingClient->open($machines[$number], @option) }

subtest 'an event published on any machine is received on all, in one order and with one id' => sub {
    my @clients = map { client($_, channels => 'news') } 0, 0, 1, 1, 2, 2;
    my @published;
    for my $number (1 .. 30) {
        my $id = $machines[$number % 3]->publish(news => $number, in_job => $number % 2);
        like $id, qr/\A[0-9a-z]{1,16}-[0-9]+\z/, "$number has an id";
        push @published, {data => $number, id => $id};
    }
    for my $client (@clients) {
        ok $client->has(30), 'a client receives the last event';
        is_deeply [$client->events], \@published, 'it has received every event once, in the order of their ids';
        is $client->gaps, 0, 'it received no gap';
    }
    my @seqs = map { $_->{id} =~ /-([0-9]+)\z/ } @published;
    is_deeply \@seqs, [sort { $a <=> $b } @seqs], 'the sequence numbers increase';
};

subtest 'publishers on all machines at once have one order' => sub {
    my @clients = map { client($_, channels => 'race') } 0 .. 2;
    my $race    = sub {
        my $machine = shift;
        return in_child sub {
            map { $machine->publish(race => $machine->port . "-$_") } 1 .. 40;
        };
    };
    $_->() for map { $race->($_) } @machines;
    $machines[0]->publish(race => 'last');
    ok $_->has('last'), 'a client receives the last event' for @clients;
    my @events = $clients[0]->events;
    is scalar @events, 121, 'a client has all events';
    is_deeply [$_->events], \@events, 'a client of another machine has the same in the same order' for @clients[1, 2];
    for my $machine (@machines) {
        my $port = $machine->port;
        is_deeply [map { $_->{data} =~ /\A$port-([0-9]+)\z/ } @events], [1 .. 40],
            'the events of one publisher are in its order';
    }
};

subtest 'a client that moves to another machine misses nothing and receives nothing twice' => sub {
    my $client = client(0, channels => 'moves');
    my @ids;
    for my $number (1 .. 12) {
        push @ids, $machines[$number % 3]->publish(moves => "while $number");
        $client->has("while $number") if $number % 4;
        $client->leave;
        push @ids, $machines[($number + 1) % 3]->publish(moves => "away $number");
        $client->move($machines[($number + 2) % 3]);
    }
    ok $client->has('away 12'), 'the client has received the last event';
    is_deeply [map { $_->{id} } $client->events], \@ids, 'all events, once and in order';
    is $client->gaps, 0, 'it received no gap';
    $client->leave;

    # The hub of the machine may not have read yet what the client has received elsewhere.
    my $id    = $machines[0]->publish(moves => 'first elsewhere');
    my $ahead = client(1, channels => 'moves', id => $id);
    $machines[2]->publish(moves => 'then here');
    ok $ahead->has('then here'), 'a client with the newest id of another machine receives the next event';
    is_deeply [$ahead->data, $ahead->gaps], ['then here', 0], 'and neither that event again nor a gap';
};

subtest 'an id that the hub has not given is answered by a gap' => sub {
    my ($epoch) = $machines[0]->publish(moves => 'now') =~ /\A(\w+)-/;
    for my $id ("$epoch-99999999999999", '00000000-5') {
        my $client = client(1, channels => 'moves', id => $id);
        ok $client->has_gaps(1), "$id: the client receives a gap";
        $machines[2]->publish(moves => "after $id");
        ok $client->has("after $id"), 'and receives what is published then';
    }
};

subtest 'once: an event that is published again on another machine is published once' => sub {
    my $client = client(2, channels => 'orders');
    my %first  = map { ($_ => $machines[$_ % 3]->publish(orders => "order $_", once => "order-$_")) } 1 .. 6;
    for my $number (1 .. 6) {
        is $machines[($number + 1) % 3]->publish(orders => 'again', once => "order-$number"), $first{$number},
            "order $number: another machine returns the first id";
        is $machines[($number + 2) % 3]->publish(orders => 'again', once => "order-$number", in_job => 1),
            $first{$number}, 'and a job there, too';
    }
    my $race = sub {
        my $machine = shift;
        return in_child sub {
            map { $machine->publish(orders => "race $_", once => "race-$_") } 1 .. 20;
        };
    };
    $_->() for map { $race->($_) } @machines, @machines;
    $machines[0]->publish(orders => 'last');
    ok $client->has('last'), 'a client receives the last event';
    my %times;
    $times{$_}++ for $client->data;
    is_deeply \%times, {map { ($_ => 1) } 'last', (map { "order $_" } 1 .. 6), map { "race $_" } 1 .. 20},
        'each event once, also when six publishers race';
};

subtest 'ids of the application are the same everywhere' => sub {
    my @clients = map { client($_, channels => 'own') } 0 .. 2;
    for my $number (1 .. 6) {
        is $machines[$number % 3]->publish(own => $number, id => "own/$number"), "own/$number", "$number keeps its id";
    }
    for my $client (@clients) {
        ok $client->has(6), 'a client receives the last event';
        is_deeply [map { $_->{id} } $client->events], [map { "own/$_" } 1 .. 6], 'with the ids of the application';
    }
    my ($id) = $clients[0]{client}->text =~ m{^id: own/4\n\nid: (.*)\n}m;
    $_->leave for @clients;
    my $client = client(1, channels => 'own', id => $id);
    ok $client->has(6), 'a client resumes with the id that follows on another machine';
    is_deeply [$client->data, $client->gaps], [5, 6, 0], 'and receives what follows';
};

subtest 'patterns match what is published on other machines' => sub {
    my $client = client(0, channels => 'plain', patterns => 'shop.*');
    $machines[1]->publish($_         => "to $_") for qw(shop.one plain other shop.two);
    $machines[2]->publish('shop.one' => 'last');
    ok $client->has('last'), 'the client receives the last event';
    is_deeply [$client->data], ['to shop.one', 'to plain', 'to shop.two', 'last'], 'the events of its topics, in order';
    $client->leave;
    $machines[0]->publish('shop.three' => 'meanwhile');
    $client->move($machines[2]);
    ok $client->has('meanwhile'), 'a client of a pattern resumes on another machine';
    is $client->gaps, 0, 'without a gap';
};

subtest 'the counters report the store' => sub {
    for my $machine (@machines) {
        my $store = $machine->stats->{store};
        is $store->{kind},  'redis',     'the kind';
        is $store->{place}, $redis->url, 'the place';
        ok $store->{up}, 'it is up';
        is $store->{last_error},    undef, 'there was no error';
        is $store->{pending},       0,     'nothing waits';
        is $store->{epoch_changes}, 0,     'nothing was lost';
        $machine->stats_ok(sub { $_[0]{store}{events} >= 100 }, 'it holds the events');
    }
};

subtest 'a gap takes the place of an event of a later version, in its order, live and in the history' => sub {
    my $first = $machines[0]->publish(later => 'first');
    my $live  = client(0, channels => 'later', id => $first);
    my $gaps  = $machines[0]->stats->{gaps};
    my $key   = (grep { /\}:/ } @{$redis->command('KEYS', '*{shop}*')})[0];
    $redis->command('XADD', $key, '*', 'c', 'later', 'f', "\x7f\0\0\0\0", 'p', "later:$_") for 1, 2;
    $machines[1]->publish(later => 'after');
    my $resumed = client(2, channels => 'later', id => $first);
    for my $client ($live, $resumed) {
        ok $client->has('after'), 'a client receives what follows';
        is_deeply [$client->data, $client->gaps], ['after', 2], 'after a gap for each event that the hub cannot read';
        like $client->{client}->text, qr/^event: gap\ndata: \{"reason":"evicted"\}\nid: /m, 'as its other gaps are';
        $client->leave;
    }
    is $machines[0]->stats->{gaps} - $gaps, 2, 'the statistics count them';
    like $machines[0]->stats->{store}{last_error}, qr/cannot read the entry \S+, which is of a later version/,
        'the status of the store says so';
};

subtest 'a hub process is killed: its clients come back and miss nothing' => sub {
    my @clients = map { client($_, channels => 'news') } 0, 0, 1;
    my @ids     = map { $machines[$_ % 3]->publish(news => "before $_") } 1 .. 5;
    $_->has('before 5') for @clients;
    for my $round (1 .. 3) {
        $machines[0]->kill_hub;
        push @ids, map { $machines[1]->publish(news => "while $round $_") } 1 .. 5;
        push @ids, $machines[0]->publish_at_last(news => "again $round", once => "again $round");
        ok $_->has("again $round"), 'a client receives the next event' for @clients;
    }
    is_deeply [map { $_->{id} } $_->events], \@ids,     'all events once and in order' for @clients;
    is_deeply [map { $_->gaps } @clients],   [0, 0, 0], 'no client received a gap';
    my $old = client(0, channels => 'news', id => $ids[0]);
    ok $old->has('again 3'), 'a client with an id of before resumes';
    is_deeply [map { $_->{id} } $old->events], [@ids[1 .. $#ids]], 'all that it has missed';
};

subtest 'the whole application of a machine is restarted: its clients miss nothing' => sub {
    my $client = client(0, channels => 'news');
    my @ids    = $machines[0]->publish(news => 'before the restart');
    ok $client->has('before the restart'), 'a client receives an event';
    $client->leave;
    push @ids, $machines[1]->publish(news => 'meanwhile');
    $machines[0]->restart;
    $client->move($machines[0]);
    push @ids, $machines[0]->publish(news => 'after the restart');
    ok $client->has('after the restart'), 'and comes back';
    is_deeply [map { $_->{id} } $client->events], \@ids, 'all events once and in order';
    is $client->gaps, 0, 'without a gap';
};

$_->end_ok for @machines;

done_testing;
