# eventsource hub check: green if a hub delivers, red with a sentence if it does not; and the store on the command line.

use lib 't/lib';
use Testing;
use Testing::CommandLine;
use EventSource::Hub;
use JSON::PP ();
use Testing::CuttableProxy;
use Testing::Client;
use Testing::Process qw(is_running);
use Testing::Redis;
use Testing::Server;
use Testing::SourceTree qw(write_file);

my $RED_WITHIN   = 10;    # seconds after the first publish that has failed, in which a monitor has to know
my $GREEN_WITHIN = 15;    # seconds after the end of the trouble

my $folder = new_folder;
my $shell  = Testing::CommandLine->new;
my $json   = JSON::PP->new->utf8;

sub check { return $shell->run(qw(hub check), @_) }

# Whether the check is red with a sentence like this.
sub is_red {
    my ($done, $sentence, $name) = @_;
    is $done->{code}, 1, "$name: the exit code is 1";
    like $done->{err}, qr/\Aeventsource hub: \w+: $sentence/, "$name: a sentence";
    is $done->{out}, '', "$name: and nothing else";
    return;
}

subtest 'no process' => sub {
    my @none    = qw(none --timeout 0.2);
    my $unknown = check(@none);
    is $unknown->{code}, 3, 'a name that nothing is known of is a failure';
    like $unknown->{err}, qr/\Aeventsource hub: none: nobody has used a hub of this name here: .*--unused/,
        'with a sentence';
    my $object = $json->decode(check(@none, '--json')->{out});
    ok !$object->{healthy} && !$object->{running}, 'as an object';
    like $object->{problem}, qr/nobody has used/, 'with the sentence';
    push @none, '--unused';
    is_deeply check(@none), {code => 0, out => "none\tok\tno process yet\n", err => ''},
        'with --unused it is ready: the first worker would start one';
    my $ready = $json->decode(check(@none, '--json')->{out});
    ok $ready->{healthy} && !$ready->{running}, 'as an object';
    is check(@none, '--running')->{code}, 2, '--unused and --running exclude each other';
    pop @none;
    is_red(check(@none, '--running'), qr/no process serves the hub none/, 'it has to run');
    $object = $json->decode(check(@none, qw(--running --json))->{out});
    ok !$object->{healthy}, 'as an object';
    like $object->{problem}, qr/no process/, 'with the sentence';
    is $shell->run(qw(hub list))->{out}, '', 'it starts none';
};

subtest 'no process, and none could start' => sub {
    my @none = qw(none --timeout 0.2 --unused);
    is_red check(@none, '--socket', "$folder/missing/hub.sock"),
        qr/.* cannot be written/,
        'the folder of its socket is missing';
    my $file = "$folder/ready.db";
    for my $case (
        ["file:$folder/missing/events.db",          qr/.*its store .* cannot be written/],
        ['file:events.db',                          qr/.*EVENTSOURCE_STORE: the path must be absolute/],
        ['disk',                                    qr/.*EVENTSOURCE_STORE: a store is memory, /],
        ['redis://:geheim@127.0.0.1/1/0',           qr/.*EVENTSOURCE_STORE: redis must have host and port/],
        ['redis://:geheim@127.0.0.1:1/0',           qr/its store does not answer: 127\.0\.0\.1:1/],
        ['rediss-sentinel://127.0.0.1:1,[::1]:1/m', qr/its store does not answer: 127\.0\.0\.1:1,\[::1\]:1/],
    ) {
        local $ENV{EVENTSOURCE_STORE} = $case->[0];
        is_red(check(@none), $case->[1], $case->[0]);
    }
    local $ENV{EVENTSOURCE_STORE} = "file:$file?sync=event";
    is check(@none)->{code}, 0, 'a file that could be made';
    ok !-e $file, 'is not made';
};

subtest 'no process, and a store that an object has named before' => sub {
    local $ENV{EVENTSOURCE_RUNTIME_DIR} = $shell->folder;
    my $stores = new_folder;
    my $hub    = EventSource::Hub->new(name => 'named', store => {file => "$stores/events.db"});
    $hub->publish(news => 'one');
    my $pid = $hub->stats->{process}{pid};
    kill KILL => $pid;
    ok wait_until($DEADLINE, sub { !is_running($pid) }), 'its process is killed';
    is check('named')->{code}, 0, 'another one would have the store';
    rename $stores, "$stores.away" or die "$stores: $!\n";
    is_red(check('named'), qr/no process can start: its store \Q$stores\E\S+ cannot be written/,
        'whose folder is gone');
    {
        local $ENV{EVENTSOURCE_STORE} = 'memory';
        is check('named')->{code}, 0, 'the environment goes before it';
    }
    is $shell->run(qw(hub stop named))->{code}, 0, 'hub stop forgets it, though no process runs';
    is check('named')->{code},                  0, 'then another one would have no store';
    rename "$stores.away", $stores or die "$stores: $!\n";
};

# A hub keeps what programs have named: without the line of the store it still has the store.
subtest 'a store that the program has named before, and names no more' => sub {
    local $ENV{EVENTSOURCE_RUNTIME_DIR} = $shell->folder;
    my $redis     = Testing::Redis->start_or_skip_all;
    my $proxy     = Testing::CuttableProxy->start($redis->port);
    my $forgets   = qr/eventsource hub stop removed\b.* forgets/;
    my %hub       = (name => 'removed', publish_timeout => 1);
    my $published = sub {
        my $hub = shift;
        local $@;
        return eval { $hub->publish(news => 'one'); 1 } ? '' : "$@";
    };
    my $with = EventSource::Hub->new(%hub, store => {redis => $redis->url(port => $proxy->port)});
    is $published->($with),                                '',       'with Redis it publishes';
    is $shell->connect('removed')->stats->{store}{source}, 'worker', 'stats say who has named it';
    undef $with;
    my $without = EventSource::Hub->new(%hub);
    $proxy->hold;
    ok wait_until($DEADLINE, sub { check('removed')->{code} == 1 }), 'Redis is away';
    is_red(check('removed'), qr/its store .* is down.*; no connected program names this store.*$forgets/, 'the check');
    my $pid = $shell->connect('removed')->pid;
    kill KILL => $pid;
    ok wait_until($DEADLINE, sub { !is_running($pid) }), 'the process is killed';
    is_red(check(qw(removed --timeout 0.5)), qr/its store does not answer: \S+ \(named before: $forgets/, 'none runs');
    like $published->($without), qr/ does not answer; .*Its store, redis:\S+, was named before, .*$forgets/,
        'so does the error of a program without the store';
    is_red(check(qw(removed --timeout 0.5)), qr/.*was named before.*$forgets/, 'and the check of a hub that begins');
    is $shell->run(qw(hub stop removed))->{code}, 0,  'it is stopped';
    is $published->($without),                    '', 'then the program publishes without a store';
};

subtest 'no process, and a Redis' => sub {
    my $redis = Testing::Redis->start_or_skip_all(password => 'geheim');
    my $proxy = Testing::CuttableProxy->start($redis->port);
    local $ENV{EVENTSOURCE_STORE} = $redis->url(port => $proxy->port);
    my @none = qw(none --timeout 1 --unused);
    is check(@none)->{code}, 0, 'that answers: the hub would work';
    $proxy->swallow('answers');
    is_red(check(@none), qr/its store does not answer/, 'that is silent');
};

# What an orchestrator does: it sends traffic when the probe is green, and the first stream starts the process.
subtest 'the probe is green before the first stream and after it' => sub {
    my %env    = (EVENTSOURCE_RUNTIME_DIR => $shell->folder);
    my $server = Testing::Server->start('HTTP::Server::PSGI', 't/data/hub_process.psgi', env => \%env);
    is check(qw(test --unused))->{out}, "test\tok\tno process yet\n", 'before';
    my $client = Testing::Client->get($server->port, '/hub');
    ok $client->read_until(qr/^id: .+\n\n/m), 'a stream';
    is_deeply check(qw(test --running)), {code => 0, out => "test\tok\tmemory\n", err => ''},
        'after it the process is asked';
    $client->leave;
    $server->stop;
    $shell->run(qw(hub stop test));
    is check('test')->{out}, "test\tok\tno process yet\n", 'after its process was stopped the name is known';
};

subtest 'a hub without a store' => sub {
    $shell->run(qw(hub start test));
    is_deeply check('test'), {code => 0, out => "test\tok\tmemory\n", err => ''}, 'is healthy';
    is check(qw(--hub test))->{code}, 0, 'with --hub';
    local $ENV{EVENTSOURCE_HUB} = 'test';
    my $object = $json->decode(check('--json')->{out});
    ok $object->{healthy}, 'of the environment, as an object';
    is_deeply [@$object{qw(name problem)}, $object->{store}{kind}], ['test', undef, 'memory'], 'with the store';
    is $shell->connect('test')->stats->{published}, 0, 'it publishes nothing';
};

subtest 'a process that does not answer' => sub {
    my $pid = $shell->connect('test')->pid;
    kill STOP => $pid;
    is_red(check(qw(test --timeout 0.3)), qr/\S/, 'it is stopped');
    kill CONT => $pid;
    is check('test')->{code}, 0, 'it continues';
};

subtest 'the store on the command line' => sub {
    my $path = "$folder/run.db";
    my $run  = $shell->start(qw(hub run front --store), "file:$path?sync=event");
    ok wait_until($DEADLINE, sub { check(qw(front --timeout 0.5))->{out} eq "front\tok\tfile\n" }), 'of hub run'
        or diag $run->log;
    is $shell->connect('front')->stats->{store}{place}, $path, 'is that file';
    $shell->run(qw(hub stop front));
    $run->stop;

    write_file("$folder/store", "file:$folder/start.db\n");
    is $shell->run(qw(hub start back --store-from), "$folder/store")->{code}, 0, 'of hub start, from a file';
    is $shell->connect('back')->stats->{store}{place},                        "$folder/start.db", 'is that file';
    my $wrong = $shell->run(qw(hub start wrong --timeout 1 --store disk));
    is $wrong->{code}, 3, 'a wrong one starts nothing';
    like $wrong->{err}, qr/\A.*: EVENTSOURCE_STORE: a store is memory, .+\n\z/, 'and the program says why';
    is $shell->run(qw(hub start wrong --store-from), "$folder/none")->{code}, 1, 'and neither does a missing file';
    is $shell->run(qw(hub stop back --store memory))->{code},                 2, 'other commands take none';
};

subtest 'Redis' => sub {
    my $redis = Testing::Redis->start_or_skip_all(appendonly => 'always', password => 'geheim');
    my $proxy = Testing::CuttableProxy->start($redis->port);
    local $ENV{EVENTSOURCE_STORE} = $redis->url(port => $proxy->port);
    $shell->run(qw(hub start away));
    my $hub = $shell->connect('away');
    $hub->publish(news => 'one');
    is_deeply check('away'), {code => 0, out => "away\tok\tredis\n", err => ''}, 'it is healthy';
    my %text = $shell->run(qw(stats --hub away))->{out} =~ /^(store[.]\w+)\t(.*)$/mg;
    is_deeply [@text{qw(store.kind store.up store.pending store.place)}],
        ['redis', 1, 0, 'redis://127.0.0.1:' . $proxy->port . '/0'], 'stats shows the store';
    ok !exists $text{'store.last_error'}, 'without an error';

    $hub->publish(news => 'x' x 1000) for 1 .. 30;
    my $is_weighed = wait_until $DEADLINE, sub {
        %text = $shell->run(qw(stats --hub away))->{out} =~ /^(store[.]\w+)\t(.*)$/mg;
        $text{'store.bytes'} > 30_000 && $text{'store.events'} >= 31;
    };
    ok $is_weighed && $text{'store.bytes'} < 600_000 && $text{'store.events'} <= 32, 'its size is that of Redis'
        or diag explain \%text;
    like $text{'store.lag'}, qr/\A[0-9]+(?:[.][0-9]+)?\z/, 'the lag is a number';
    cmp_ok $text{'store.lag'}, '<', $DEADLINE, 'of seconds, not of milliseconds';
    is_deeply [@text{qw(store.failed store.reconnects store.epoch_changes)}], [0, 0, 0], 'no trouble is counted';

    $proxy->swallow('answers');
    ok wait_until($DEADLINE, sub { check(qw(away))->{code} == 1 }), 'it is red when Redis is silent';
    $proxy->release;
    $proxy->cut;
    ok wait_until($DEADLINE, sub { check(qw(away))->{code} == 0 }), 'and green again';

    $proxy->hold;
    ok wait_until($DEADLINE, sub { check(qw(away))->{code} == 1 }), 'it is red when the connection is cut';
    is_red(
        check('away'),
        qr/its store \(redis \S+\) is down.*; its last error, \S+ seconds ago: \S.*; the hub process was started with/,
        'it is cut'
    );
    unlike check('away')->{err}, qr/geheim/, 'without the password';
    $proxy->release;
    ok wait_until($DEADLINE, sub { check(qw(away))->{code} == 0 }), 'and green again';
};

# Nobody publishes while the check has to change: a monitor looks at hubs that are quiet, too.
subtest 'Redis without the replica that has to have each event' => sub {
    my $redis   = Testing::Redis->start_or_skip_all(appendonly => 'always');
    my $replica = Testing::Redis->start(replica_of => $redis);
    local $ENV{EVENTSOURCE_STORE} = $redis->url . '?replicas=1';
    $shell->run(qw(hub start copied));
    my $publish = sub { return $shell->run(qw(publish --hub copied news), shift) };
    ok wait_until($DEADLINE, sub { $publish->('one')->{code} == 0 }), 'the replica has an event';
    ok wait_until($DEADLINE, sub { check('copied')->{code} == 0 }),   'it is healthy';

    $replica->kill;
    my $done = $publish->('two');
    is $done->{code}, 4, 'without the replica a publish fails';
    like $done->{err}, qr/perhaps published/, 'as unknown';
    ok wait_until($RED_WITHIN, sub { check('copied')->{code} == 1 }), 'the check becomes red';
    is_red(check('copied'), qr/\S/, 'and stays red');

    $replica->restart;
    ok wait_until($GREEN_WITHIN, sub { check('copied')->{code} == 0 }), 'it is green when the replica is back';
    is $publish->('three')->{code}, 0, 'and an event is published';

    $redis->kill;
    ok wait_until($DEADLINE, sub { $publish->('four')->{code} == 3 }),
        'without Redis nothing is published, says the exit code';
};

done_testing;
