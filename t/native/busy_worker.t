# Handlers that loop, on every server: with spawn they hold no worker; without it the log says so, and they end with the worker.

use lib 't/lib';
use Testing;
use Testing::Checks  qw(check run_checks);
use Testing::Process qw(is_running);
use Testing::Server;

# Whether handlers block or an event loop runs, and what signals to the server do while a handler runs: another worker follows,
# or the server ends.
my @SERVERS = (
    ['HTTP::Server::PSGI' => 'blocks', HUP  => 'ends'],
    ['HTTP::Server::PSGI' => 'blocks', TERM => 'ends'],
    ['Starman' => 'blocks', HUP  => 'restarts', TERM => 'ends'],
    ['Starman' => 'blocks', QUIT => 'ends'],
    ['Starlet' => 'blocks', HUP  => 'restarts', TERM => 'ends'],
    ['uWSGI'   => 'blocks', HUP  => 'restarts', TERM => 'ends'],
    ['Twiggy'  => 'loops',  TERM => 'ends'],
    ['Feersum' => 'loops',  TERM => 'ends'],
);

my %KIND = map { ($_->[0] => $_->[1]) } @SERVERS;

# uWSGI itself kills a worker that does not end: after a minute, unless it is told otherwise.
my %MORE = (uWSGI => ['--worker-reload-mercy', 1]);

# The servers that wait for a handler when they are to end its worker.
my %WAITS = map { ($_ => 1) } qw(Starlet Starman);

# What handlers push first.
my %FIRST = (
    (map { ($_ => qr/tick of (\d+)\r/) } qw(bounded loop spawned unwind writer)),
    ask    => qr/asks in (\d+)\r/,
    asleep => qr/sleeps in (\d+)\r/,
    await  => qr/waits in (\d+)\r/,
);

sub lines { return scalar(() = $_[0]->log =~ /$_[1]/mg) }

# Opens a stream. Returns its client and the process of its handler.
sub opened {
    my ($run, $path) = @_;
    my $client = $run->get("/$path");
    ok $client->read_until($FIRST{$path}), "/$path: the handler runs";
    return ($client, $client->text =~ $FIRST{$path});
}

check 'spawn' => sub {
    my $run     = shift;
    my @streams = map { [opened($run, 'spawned')] } 1 .. 3;
    like my $worker = $run->ask('/'), qr/\A\d+\z/, 'the server answers while three handlers loop';
    is scalar(grep { $_->[1] == $worker } @streams), 0, 'they run in children';
    $_->[0]->leave for @streams;
    ok wait_until(sub { !is_running($_->[1]) }), 'a child ends when its client leaves' for @streams;
    my ($first, $child) = opened($run, 'bounded');
    if ($run->{name} ne 'Feersum') {    # its second stream is refused when its head is out
        my $second = $run->get('/bounded');
        ok $second->read_all, 'a stream beyond max_children ends';
        like $second->text, qr/\Aretry: \d+\r\n\z/, 'its client is told when to come back';
    }
    $first->leave;
    ok wait_until(sub { !is_running($child) }), 'the child ends';
};

check 'no spawn' => sub {
    my $run = shift;
    for (1, 2) {
        my $client = $run->get('/cannot');
        ok $client->read_until(qr/runs in \d+\r/), 'a handler that cannot be spawned runs in its worker';
    }
    my $line = qr/busy_worker\.psgi line \d+ runs in its worker in spite of spawn => 1: the stream is not native/;
    ok wait_until(sub { lines($run, $line) }), 'the log says so';
    is lines($run, $line), 1, 'it does so once';
};

check 'long', blocks => sub {
    my $run = shift;
    my ($client, $worker) = opened($run, 'ask');
    my $line =
        qr/a handler of Plack::App::EventSource at [^\n]*busy_worker\.psgi line \d+ occupies worker $worker: .*spawn => 1/;
    ok wait_until(sub { lines($run, $line) }), 'the log says that a handler holds its worker';
    $client->leave;
    is $run->ask('/'), $worker, 'it ends when is_open returns false';
};

check 'asleep', blocks => sub {
    my $run = shift;
    my ($client, $worker) = opened($run, 'asleep');
    $client->leave;
    my $line = qr/occupies worker $worker: it has run for 1 seconds, .*spawn => 1/;
    ok wait_until(sub { lines($run, $line) }), 'the log says so although the client has left';
    is $run->ask('/'), $worker, 'it holds its worker until it returns';
};

# A timer that nothing runs keeps the connection.
check 'a timer' => sub {
    my $run  = shift;
    my $kind = $KIND{$run->{name}};
    my $line = qr/busy_worker\.psgi line \d+ has returned and its connection is kept: .*no timer .* of AnyEvent/;
    for (1, 2) {
        my $client = $run->get('/timer');
        if ($kind eq 'blocks') {
            ok wait_until(sub { lines($run, $line) }), 'the log says that no timer runs';
        }
        else { ok $client->read_until(qr/by a timer\r/), 'the timer runs' }
    }
    is lines($run, $line), $kind eq 'blocks' ? 1 : 0, $kind eq 'blocks' ? 'once' : 'so the log says nothing';
};

check 'a short job', waits => sub {
    my $run    = shift;
    my $client = $run->get('/job');
    ok $client->read_until(qr/step 1\r/), 'a job begins';
    kill HUP => $run->{pid};
    ok $client->read_all, 'the stream ends';
    like $client->text,  qr/step 50\r/, 'a job that has only begun is finished';
    like $run->ask('/'), qr/\A\d+\z/,   'another worker answers';
};

# Leaves a handler that holds the worker.
sub loop_for_nobody_is_reported {
    my $run = shift;
    my ($client) = opened($run, 'unwind');
    $client->leave;
    like my $worker = $run->ask('/'), qr/\A\d+\z/, q(on_gone => 'unwind' frees the worker);
    ($client) = opened($run, 'loop');
    $client->leave;
    my $line = qr/occupies worker $worker: it keeps pushing to a client that left .*on_gone => 'unwind' .*spawn => 1/;
    ok wait_until(sub { lines($run, $line) }), 'the log says that a handler pushes to a client that has left';
    return $worker;
}

sub worker_ends {
    my ($run, $what, $worker) = @_;
    ok wait_until(sub { !is_running($worker) }), 'the worker ends' or diag $run->log;
    if ($what eq 'ends') {
        ok wait_until(sub { $run->has_ended }), 'so does the server';
    }
    else { isnt $run->ask('/'), $worker, 'another one answers' }
    return;
}

sub ends_by_signal {
    my ($run, $signal, $what, $path) = @_;
    my ($client, $worker) = opened($run, $path);
    kill $signal => $run->{pid};
    ok $client->read_all, "$signal: the stream ends";
    worker_ends($run, $what, $worker);
    return;
}

my %seen;
for (grep { Testing::Server->tested($_->[0]) } @SERVERS) {
    my ($name, $kind, @signals) = @$_;
    subtest "$name: $signals[0]" => sub {
        my $run = Testing::Server->start(
            $name, 't/data/busy_worker.psgi',
            journal => 1,
            workers => 1,
            args    => $MORE{$name} || []
        );
        if (!$seen{$name}++) {
            run_checks($run, $kind, $WAITS{$name} ? 'waits' : ());
            if ($kind eq 'blocks') {
                my ($signal, $what) = splice @signals, 0, 2;
                my $worker = loop_for_nobody_is_reported($run);
                kill $signal => $run->{pid};
                worker_ends($run, $what, $worker);
                for my $path ($WAITS{$name} ? qw(ask await loop writer) : ()) {
                    subtest "$signal while /$path runs" => sub { ends_by_signal($run, $signal, $what, $path) };
                }
            }
        }
        if (my ($signal, $what) = @signals) {
            my $path = $kind eq 'blocks' ? 'loop' : 'spawned';
            subtest "$signal while /$path runs" => sub { ends_by_signal($run, $signal, $what, $path) };
        }
    };
}

done_testing;
