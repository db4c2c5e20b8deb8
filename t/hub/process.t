# A named hub, on a server with four workers: every stream receives what any worker or other process publishes. That streams
# outlive the worker that has accepted them is in t/hub/outlive.

use lib 't/lib';
use Testing qw(named_hubs);
use EventSource::Hub;
use Testing::Client;
use Testing::Process qw(hubs_at);
use Testing::Server;
use Testing::Subscriber qw(blocks);
use IO::Socket::UNIX    ();
use IPC::Open2          ();

my $WORKERS = 4;

my $folder = new_folder;
my %env    = (HUB_SOCKET => "$folder/hub.sock", JOURNAL => "$folder/journal");

my $server = Testing::Server->start('Starman', 't/data/hub_process.psgi', workers => $WORKERS, env => \%env);

sub ask {
    my ($path, $of) = @_;
    my $client = Testing::Client->ask(($of || $server)->port, $path);
    return ($client->body, $client->header('X-Worker'));
}

sub journal {
    open my $lines, '<', $env{JOURNAL} or return '';
    local $/;
    return scalar readline $lines;
}

sub open_stream { return Testing::Client->stream($server->port, shift) }

sub data_of {
    return map { $_->{data} // () } blocks($_[0]->text);
}

my %readers = %{$server->streams_by_worker('/hub', $WORKERS)};
my @readers = map { @$_ } values %readers;
is scalar keys %readers, $WORKERS, 'there are streams on all workers';

my (%publisher, @published);
wait_until $DEADLINE, sub {
    my $data = 'event-' . @published;
    my ($id, $worker) = ask("/publish?$data");
    push @published, {id => $id, data => $data};
    $publisher{$worker}++;
    return keys %publisher == $WORKERS;
};
is scalar keys %publisher, $WORKERS, 'all workers have published';

my $script = 'my $hub = EventSource::Hub->new(name => "test", socket => shift); print $hub->publish(news => "script")';
my $pid    = IPC::Open2::open2(
    my $out, undef, $^X, (map { "-I$_" } @INC), '-MEventSource::Hub',
    -e => $script,
    $env{HUB_SOCKET}
);
my $id = readline $out;
waitpid $pid, 0;
push @published, {id => $id, data => 'script'};
like $id, qr/\A[0-9a-v]{8}-[0-9]+\z/, 'a script outside of the server publishes';

for my $client (@readers) {
    $client->has('script');
    my @got = map { {id => $_->{id}, data => $_->{data}} } grep { defined $_->{data} } blocks($client->text);
    is_deeply \@got, \@published, 'a reader receives every event once, in the order of the hub';
}
is + (ask('/stats'))[0], scalar @readers, 'each worker counts the streams of all';

subtest 'pushes and closes of a worker reach the stream in order' => sub {
    my $client = open_stream('/handler');
    my $worker = $client->header('X-Worker');
    $client->has('second');
    my $later = sub {
        my $path = shift;
        return wait_until($DEADLINE, sub { (ask($path))[1] == $worker });
    };
    ok $later->('/later'), 'the worker pushes';
    ask('/publish?between');
    ok $client->has('third'),   'the client receives the push';
    ok $client->has('between'), 'and the event of the hub';
    is_deeply [grep { /\A(?:first|second)\z/ } data_of($client)], [qw(first second)],
        'the pushes of the handler are in order';
    ok $later->('/drop'), 'the worker closes the stream';
    ok $client->read_all, 'the response ends';
    ok $client->complete, 'as a whole';
    ok wait_until($DEADLINE, sub { ask('/stats'); journal() =~ /^$worker application$/m }), 'on_close is called there';
};

subtest 'a client that leaves ends its stream in the worker' => sub {
    my $client = open_stream('/handler');
    my $worker = $client->header('X-Worker');
    $client->leave;
    ok wait_until($DEADLINE, sub { ask('/stats'); journal() =~ /^$worker client$/m }),
        'on_close is called with the reason';
};

subtest 'the hub process is killed' => sub {
    my $hub   = EventSource::Hub->new(name => 'test', socket => $env{HUB_SOCKET});
    my $epoch = $hub->epoch;
    kill KILL => hubs_at($env{HUB_SOCKET});
    $_->read_all for @readers;
    is scalar(grep { !$_->ended } @readers), 0, 'its streams end';
    my $published;
    eventually_ok $DEADLINE, 'another one is started' => sub {
        eval { $published = $hub->publish(news => 'anew'); 1 }
    };
    isnt + (split /-/, $published // '')[0], $epoch, 'with a new epoch';
    my $client = open_stream('/hub');
    $hub->publish(news => 'again');
    ok $client->has('again'), 'workers connect anew';
};

subtest 'the hub process is killed while all workers publish' => sub {
    my $hub = EventSource::Hub->new(name => 'test', socket => $env{HUB_SOCKET});
    my (%ids, %codes);
    for my $round (1 .. 10) {
        my $reader   = open_stream('/hub');
        my ($last)   = $reader->text =~ /^id: (\S+)/m;
        my ($killed) = hubs_at($env{HUB_SOCKET});
        my $request  = sub {
            return map { Testing::Client->get($server->port, "/try?$round-$_", headers => [Connection => 'close']) } @_;
        };
        my @publishers = $request->(1 .. 2 * $WORKERS);
        kill KILL => $killed;
        push @publishers, $request->(2 * $WORKERS + 1 .. 4 * $WORKERS);
        for my $publisher (@publishers) {
            $publisher->read_all;
            my $answer = $publisher->body // '';
            $answer =~ /-/ ? $ids{$answer}++ : $codes{$answer}++;
        }
        $reader->read_all;
        $reader->ended or return fail "round $round: a stream ends with its process";
        my $again = Testing::Client->get($server->port, '/hub', headers => ['Last-Event-ID' => $last]);
        $again->read_until(qr/^event: gap\r?\n/m)
            or return fail "round $round: the client that resumes receives a gap";
        is scalar(() = hubs_at($env{HUB_SOCKET})), 1, "round $round: one process serves the hub";
    }
    is_deeply [grep { $ids{$_} > 1 } keys %ids],     [], 'each id was returned once';
    is_deeply [grep { !/\Aunknown\z/ } keys %codes], [], 'a publish returns an id, or throws unknown';
    cmp_ok scalar(keys %ids), '>=', 10 * $WORKERS, 'those after the kill return ids of the next process';
};

subtest 'recycled workers' => sub {
    my $other = Testing::Server->start(
        'Starman', 't/data/hub_process.psgi',
        workers => 2,
        env     => {%env, HUB_SOCKET => "$folder/other.sock"}
    );
    for my $path ('/hub', '/handler') {
        Testing::Client->stream($other->port, $path)->leave;
    }
    unlike $other->log, qr/ends a worker and its event streams/, 'the server does not warn of ends that do not come';
};

subtest 'a recycled worker whose stream waits for the hub process' => sub {
    my $socket = "$folder/silent.sock";
    my $silent = IO::Socket::UNIX->new(Local => $socket, Listen => 10) or die "no socket: $!";
    my $other  = Testing::Server->start('Starman', 't/data/hub_process.psgi', env => {%env, HUB_SOCKET => $socket});
    my $client = Testing::Client->get($other->port, '/hub');
    ok $client->read_head, 'the stream is open' or return;
    my $worker = $client->header('X-Worker');
    ok wait_until($DEADLINE, sub { ((ask('/none', $other))[1] // '') eq $worker }), 'its worker is free';
    unlike $other->log, qr/ends a worker and its event streams/, 'the server does not warn';
};

$_->leave for @readers;
$server->stop;
ok wait_until($DEADLINE, sub { !hubs_at($env{HUB_SOCKET}) }), 'the hub process ends when nobody needs it';

done_testing;
