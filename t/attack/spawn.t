# Attacks on spawned handlers: clients that leave while their child starts, many children, children that spawn, publish or
# push to others, commands that do not end, workers that end, and applications that handle SIGCHLD.

use lib 't/lib';
use Testing         qw(native);
use Testing::Checks qw(check run_checks);
use Testing::Client;
use Testing::Process qw(is_running none_runs zombies_of);
use Testing::Server;
use Time::HiRes ();

my $MANY = 30;

my @SERVERS = Testing::Server->tested(qw(Starman Starlet uWSGI Twiggy Feersum));

sub start {
    my ($name, %env) = @_;
    return Testing::Server->start(
        $name, 't/data/callbacks.psgi',
        journal => 1,
        env     => \%env,
        workers => 1
    );
}

sub gone_ok {
    my ($what, @pids) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return ok wait_until(sub { none_runs(@pids) }), $what;
}

# Opens a stream whose handler spawns a child. Returns its client and the process ids of the child and the worker.
sub spawned {
    my ($run, $query, $pattern) = @_;
    my $client = $run->get("/spawn?$query");
    ok $client->read_until($pattern), 'the child runs' or diag $run->log;
    my ($child)  = $run->journal_ok($client, qr/^child (\d+)$/m,            'it reports its process id');
    my ($worker) = $run->journal_ok($client, qr/^spawned \w+ from (\d+)$/m, 'spawn returns');
    return ($client, $child, $worker);
}

check 'clients leave while their children start' => sub {
    my $run = shift;
    for my $number (1 .. $MANY) {
        my $client = $run->get('/spawn?do=sleeps');
        $client->read_until(qr/parent/) if $number % 3 == 1;
        Time::HiRes::sleep(0.001 * ($number % 7));
    }
    $run->answers_ok('/children', 0, 'no child is left');
    unlike $run->log, qr/spawn: |died|panic/, 'nothing is logged';
};

check 'many children' => sub {
    my $run     = shift;
    my @clients = map { $run->get('/spawn?do=sleeps') } 1 .. $MANY;
    ok !(grep { !$_->read_until(qr/asleep/) } @clients), "$MANY children run";
    $run->answers_ok('/children', $MANY, 'the worker counts them');
    my @pids = map { ($run->journal_ok($_, qr/^child (\d+)$/m, 'a child'))[0] } @clients;
    $_->leave for @clients;
    gone_ok('all end with their clients', @pids);
    $run->answers_ok('/children', 0, 'the worker counts none');
};

check 'spawn inside spawn' => sub {
    my $run = shift;
    my ($client) = spawned($run, 'do=nested', qr/nested/);
    $run->journal_ok(
        $client,
        qr/^no: state .*this process is a spawned child already at [^\n]*callbacks.psgi line/m,
        'spawn in a child throws'
    );
    ok $client->read_all, 'the stream ends with the child';
    $run->answers_ok('/children', 0, 'there is no other child');
};

check 'a hub in a child' => sub {
    my $run = shift;
    my ($client) = spawned($run, 'do=hub', qr/hub/);
    $run->journal_ok($client, qr/^publish: state .*a spawned handler has no hub/m, 'publish in a child throws');
    $run->journal_ok($client, qr/^subscribe: state/m,                              'so does subscribe');
    ok $client->read_all, 'the stream ends with the child';
    is $run->ask('/publish'), 'published', 'the worker publishes as before';
};

check 'streams of other clients' => sub {
    my $run  = shift;
    my $kept = $run->get('/keep');
    ok $kept->read_until(qr/kept by/), 'the worker has a stream';
    my ($client, $child) = spawned($run, 'do=others', qr/others/);
    $run->journal_ok($client, qr/^pushed: 0$/m, 'the child cannot push to it');
    my $given = $run->ask('/give');
    ok $given, 'the worker gives that stream to a child too';
    kill KILL => $given;
    ok $kept->read_all, 'it ends with its own child, though the other child runs';
    unlike $kept->text, qr/from a child/, 'it has received nothing from the other child';
    ok is_running($child), 'the other child runs';
    $client->leave;
    gone_ok('it ends with its client', $child);
};

# An event loop has many connections when it forks.
check 'ordinary responses in an event loop', Twiggy => sub {
    my $run   = shift;
    my $early = Testing::Client->connected($run->port);
    $early->say("GET /plain HTTP/1.0\r\n");
    $run->ask('/plain');    # the server has accepted both
    my ($client, $child) = spawned($run, 'do=sleeps', qr/asleep/);
    $early->say("\r\n");
    ok $early->read_all, 'an ordinary response arrives while a child runs that was forked before';
    is $early->rest, '', 'the server closes the connection';
    $client->leave;
    gone_ok('the child ends', $child);
};

check 'a child runs a command that does not end' => sub {
    my $run = shift;
    my ($client, $child) = spawned($run, 'do=commands', qr/asleep/);
    my ($command) = $run->journal_ok($client, qr/^command (\d+)$/m, 'the child runs a command');
    $client->leave;
    gone_ok('the command ends with the child', $child, $command);
};

sub children_end_with {
    my ($name, $signal) = @_;
    my $run       = start($name);
    my @all       = map { [spawned($run, $_, qr/asleep|stubborn/)] } 'do=sleeps', 'do=stubborn', 'do=commands';
    my ($command) = $run->journal_ok($all[2][0], qr/^command (\d+)$/m, 'a child runs a command');
    if   ($signal eq 'stop') { $run->stop }
    else                     { kill $signal => $all[0][2] }
    gone_ok('the children and the command end', $command, map { $_->[1] } @all);
    ok $_->[0]->read_all, 'a stream ends' for @all;
    return;
}

sub chld_is_handled {
    my ($name, $how) = @_;
    my $run = start($name, CALLBACKS_CHLD => $how);
    my ($client, $child, $worker) = spawned($run, 'do=counts', qr/data: 3/);
    ok $client->read_all, 'the stream ends';
    gone_ok('the child has ended', $child);
    is $run->journal({tag => 'CHLD'}), '', 'the handler of the application reaps nothing';
    is_deeply [zombies_of($worker)], [], 'the worker has no zombie';
    return;
}

for my $name (@SERVERS) {
    subtest $name => sub {
        my $run = start($name);
        run_checks($run, $name);
        for my $signal (qw(TERM KILL stop)) {
            subtest "a worker ends with its children: $signal" => sub { children_end_with($name, $signal) };
        }
        for my $how (qw(IGNORE reap)) {
            subtest "SIGCHLD in the application: $how" => sub { chld_is_handled($name, $how) };
        }
    };
}

done_testing;
