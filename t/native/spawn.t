# A handler in a child process ($conn->spawn), and waiting for a handle or the client's leaving ($conn->wait). Workers that end
# are in t/attack/spawn.t.

use lib 't/lib';
use Testing          qw(native);
use Testing::Checks  qw(check run_checks);
use Testing::Process qw(is_running zombies_of);
use Testing::Server;

my @SERVERS = (
    ['HTTP::Server::PSGI' => 'blocks'],
    ['Starman' => 'blocks', workers => 1],
    ['Starlet' => 'blocks', workers => 1],
    ['uWSGI'   => 'blocks', workers => 1],
    ['Twiggy'  => 'loops'],
    ['Feersum' => 'late'],
);

# Whether the server sends the head after the handler.
my $is_late;

# Requests run the callbacks.
sub closed_ok {
    my ($run, $client, $pattern, $what) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    wait_until(sub { $run->ask('/publish'); $run->journal($client) =~ $pattern });
    return like $run->journal($client), $pattern, $what;
}

# Opens a stream whose handler spawns a child. Returns its client, and the process ids of the child and the worker.
sub spawned {
    my ($run, $query, $pattern) = @_;
    my $client = $run->get("/spawn?$query");
    ok $client->read_until($pattern), "the child's first event arrives";
    my ($child) = $run->journal_ok($client, qr/^child (\d+)$/m, 'the child runs');
    my ($given, $worker) = $run->journal_ok($client, qr/^spawned (\w+) from (\d+)$/m, 'spawn returns');
    is $given, $is_late ? 'later' : $child, 'its result says which process it is, or that there is none yet';
    return ($client, $child, $worker);
}

check 'the stream ends with the child' => sub {
    my $run = shift;
    my ($client, $child, $worker) = spawned($run, 'do=counts', qr/data: 1/);
    ok $client->read_all, 'the stream ends';
    is $client->text, join('', map { "data: $_\r\n\r\n" } "parent $worker", 1 .. 3),
        'the events of both arrive in order';
    $run->journal_ok($client, qr/^open: 0, push: 0$/m, 'in the worker the stream is over');
    ok wait_until(sub { !is_running($child) }), 'the child has ended';
    is_deeply [zombies_of($worker)], [], 'the worker has no zombie';
    closed_ok($run, $client, qr/^closed by application in $worker$/m, "the worker's on_close reports the end");
    is scalar(() = $run->journal($client) =~ /^closed/mg), 1,  'it runs once';
    is $run->journal({tag => 'END'}),                      '', 'no END block of the worker runs';
};

check 'the worker is free while children run' => sub {
    my $run        = shift;
    my @generators = map { [spawned($run, 'do=generator', qr/data: 5\r/)] } 1 .. 4;
    my $worker     = $generators[0][2];
    is $run->ask('/plain'),    "plain $worker", 'the worker answers while four generators run';
    is $run->ask('/children'), 4,               'it counts four children';
    my ($first, @others) = @generators;
    $first->[0]->leave;
    ok wait_until(sub { !is_running($first->[1]) }), "a child ends when its client leaves";
    closed_ok($run, $first->[0], qr/^closed by client in $worker$/m, "the worker's on_close reports the reason client");
    ok is_running($_->[1]),                 'another child runs on' for @others;
    ok $_->[0]->read_until(qr/data: 20\r/), 'its events arrive'     for @others;
    $_->[0]->leave for @others;
    $run->answers_ok('/children', 0, 'no child is left');
};

check 'a child ends when its client leaves' => sub {
    my $run = shift;
    my ($client, $child) = spawned($run, 'do=sleeps', qr/asleep/);
    $client->leave;
    ok wait_until(sub { !is_running($child) }), 'a child that sleeps ends when its client leaves';
    ($client, $child) = spawned($run, 'do=stubborn', qr/stubborn/);
    $client->leave;
    $run->journal_ok($client, qr/^asked to end$/m, 'a child that handles SIGTERM is asked first');
    ok wait_until(sub { !is_running($child) }), 'and is killed after the grace';
    $run->answers_ok('/children', 0, 'no child is left');
};

check 'a child that fails ends the stream with an error' => sub {
    my $run = shift;
    my ($client, $child, $worker) = spawned($run, 'do=dies', qr/before/);
    ok $client->read_all, 'the stream ends';
    closed_ok($run, $client, qr/^closed by error in $worker$/m, 'an exception is the reason error');
    like $run->log, qr/the spawned handler died: on purpose/, 'it goes to psgi.errors';
    ($client) = spawned($run, 'do=exits', qr/before/);
    ok $client->read_all, 'a child that exits ends the stream';
    my $why = $run->{name} eq 'uWSGI' ? 'error' : 'application';    # it runs no END blocks
    closed_ok($run, $client, qr/^closed by $why in $worker$/m, "the reason is $why");
    ($client, $child) = spawned($run, 'do=sleeps', qr/asleep/);
    kill KILL => $child;
    ok $client->read_all, 'a child that is killed ends the stream';
    closed_ok($run, $client, qr/^closed by error in $worker$/m, 'that is the reason error too');
    is $run->journal({tag => 'END'}), '',              'no END block of the worker runs';
    is $run->ask('/plain'),           "plain $worker", 'the worker continues';
};

check 'processes that a child forks' => sub {
    my $run = shift;
    my ($client, undef, $worker) = spawned($run, 'do=forks', qr/before/);
    ok $client->read_all, 'the stream ends';
    is $client->text,
        join('', map { "data: $_\r\n\r\n" } "parent $worker", 'before', 'exits 3', 'dies 255', 'returns 0', 'pipes'),
        'the child continues its stream while processes that it has forked end, in whatever way';
    like $run->log, qr/the spawned handler died: a child of the child/, 'an exception goes to psgi.errors';
    closed_ok($run, $client, qr/^closed by application in $worker$/m, 'the reason is that of the child');
};

check 'a child whose client reads late' => sub {
    my $run = shift;
    my ($client) = spawned($run, 'do=much', qr/before/);
    $run->journal_ok($client, qr/^a push waits$/m, 'a push waits for a client that reads nothing');
    ok $client->read_all, 'the client reads';
    is scalar(() = $client->text =~ /^data: x{50000}x{50000}\r$/mg), 200, 'it receives all events';
};

check 'a child has its own callbacks and random numbers' => sub {
    my $run = shift;
    my %number =
        map { (spawned($run, 'do=random', qr/data: 0\.\d+/))[0]->text =~ /data: (0\.\d+)/ ? ($1 => 1) : () } 1 .. 3;
    is scalar keys %number, 3, 'each child has random numbers of its own';
    my ($client, $child, $worker) = spawned($run, 'do=closes', qr/parent/);
    ok $client->read_all, 'a child may close the stream';
    $run->journal_ok($client, qr/^child $child goes on$/m,            'and continues');
    $run->journal_ok($client, qr/^closed by application in $child$/m, 'its own on_close runs in the child');
    closed_ok($run, $client, qr/^closed by application in $worker$/m, "that of the worker runs in the worker");
};

check 'the number of children is bounded' => sub {
    my $run = shift;
    my ($first, $child) = spawned($run, 'do=sleeps&most=1', qr/asleep/);
    my $second = $run->get("/spawn?do=sleeps&most=1&refused=1");
    $run->journal_ok($second, qr/^refused in/m,        'spawn returns false beyond max_children');
    $run->journal_ok($second, qr/^open: 1, push: 1$/m, 'the stream is still that of the worker');
    $first->leave;
    $run->answers_ok('/children', 0, 'the first child ends');
    my ($third) = spawned($run, 'do=sleeps&most=1', qr/asleep/);
    $_->leave for $second, $third;
    $run->answers_ok('/children', 0, 'no child is left');
};

check 'wait in a child' => sub {
    my $run = shift;
    my ($client) = spawned($run, 'do=waits', qr/data: timeout readable timeout/);
    $client->leave;
    $run->journal_ok($client, qr/^waited: gone$/m, 'wait returns gone when the client leaves');
    $run->answers_ok('/children', 0, 'no child is left');
};

check 'wait in a handler', blocks => sub {
    my $run = shift;
    for my $path ('/waits', '/writer') {
        my $client = $run->get($path);
        ok $client->read_until(qr/data: waits/), "$path: the handler continues";
        $run->journal_ok($client, qr/^got timeout readable$/m, 'wait returns timeout and readable');
        $client->leave;
        $run->journal_ok($client, qr/^then gone$/m, 'wait returns gone when the client leaves');
    }
};

check 'wait in an event loop', loops => sub {
    my $run    = shift;
    my $client = $run->get('/waits');
    ok $client->read_all, 'the stream ends';
    unlike $run->journal($client), qr/^got/m, 'wait throws in an event loop';
};

# The head has been sent, so the child begins at once.
check 'spawn when the head is sent', late => sub {
    my $run    = shift;
    my $client = $run->get('/later?do=counts');
    ok $client->read_all, 'the stream ends';
    my ($child) = $run->journal_ok($client, qr/^child (\d+)$/m, 'the child runs');
    $run->journal_ok($client, qr/^spawned $child from/m, 'spawn returns its process id from a timer');
};

# The handler returns when the client has left, so the head is never sent.
check 'a client that leaves before the head is sent', late => sub {
    my $run    = shift;
    my $log    = $run->log;
    my $folder = new_folder;
    my $file   = "$folder/left";
    my $client = $run->get("/spawn?do=sleeps&until=$file");
    $run->journal_ok($client, qr/^spawned later/m,     'spawn returns');
    $run->journal_ok($client, qr/^open: 0, push: 0$/m, 'in the worker the stream is over');
    $client->leave;
    open my $left, '>', $file or die "$file: $!";
    closed_ok($run, $client, qr/^closed by client in/m, "the worker's on_close reports the reason client");
    $run->answers_ok('/children', 0, 'no child is promised any more');
    is $run->log, $log, 'nothing is logged';
};

check 'a client that reads late', late => sub {
    my $run    = shift;
    my $client = $run->get('/spawn?do=counts&much=8000000');
    my (undef, $worker) = $run->journal_ok($client, qr/^spawned (later) from (\d+)$/m, 'spawn returns');
    is $run->ask('/children'), 1,               'the promised child counts';
    is $run->ask('/plain'),    "plain $worker", 'the worker answers';
    unlike $run->journal($client), qr/^child/m, 'the child has not begun: the client reads nothing';
    ok $client->read_all, 'the client reads';
    like $client->text, qr/x\r\n\r\ndata: 1\r\n\r\ndata: 2\r\n\r\ndata: 3\r\n\r\n\z/, q(then come the child's events);
};

check 'a promised child that cannot be started', late => sub {
    my $run    = shift;
    my $client = $run->get('/spawn?do=counts&fails=1');
    ok $client->read_all, 'the stream ends';
    closed_ok($run, $client, qr/^closed by error in/m, 'the reason is error');
    like $run->log, qr/Connection: spawn: no child: /, 'the log says why';
    $run->answers_ok('/children', 0, 'there is no child');
};

for (grep { Testing::Server->tested($_->[0]) } @SERVERS) {
    my ($name, $kind, %option) = @$_;
    subtest $name => sub {
        my %env = (CALLBACKS_WRITER => 1);
        $is_late = $kind eq 'late';
        my $run = Testing::Server->start($name, 't/data/callbacks.psgi', journal => 1, env => \%env, %option);
        run_checks($run, $kind);
    };
}

done_testing;
