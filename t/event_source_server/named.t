# A supply that runs once for all workers: one of them is elected, and another one takes over when it is killed. Each client
# of each worker receives each event once.

use lib 't/lib';
use Testing qw(named_hubs);
use Testing::Client;
use Testing::Process qw(hubs_at is_running);
use Testing::Server;

my $WORKERS = 4;
my $PSGI    = 't/event_source_server/named.psgi';

# The folder of a server, its processes, and the variables of their environment.
my ($folder, @servers, %env);

sub ask {
    my ($path, $server) = @_;
    my $client = Testing::Client->ask(($server || $servers[0])->port, $path);
    return ($client->status == 200 ? $client->body : $client->status, $client->header('X-Worker'));
}

# The workers that have run the supply, in order.
sub runs {
    open my $lines, '<', $env{JOURNAL} or return;
    chomp(my @runs = readline $lines);
    return @runs;
}

# Streams of all workers, by worker.
sub streams_of_all_workers {
    my %readers = map { %{$_->streams_by_worker('/events', $WORKERS / @servers)} } @servers;
    is scalar keys %readers, $WORKERS, 'there are streams on all workers';
    return \%readers;
}

sub data_of {
    my $client = shift;
    return grep { length } $client->text =~ /^data: (.*?)\r?$/mg;
}

# The numbers of a worker's events that a client has received.
sub ticks {
    my ($client, $worker) = @_;
    return map { /\A$worker-([0-9]+)\z/ ? $1 : () } data_of($client);
}

# Waits until a client has received that many more numbered events of a worker. Returns true if none is missing or doubled.
sub receives_ticks {
    my ($client, $worker, $count) = @_;
    $client->read_until(qr/^data: $worker-[0-9]+\r?$/m) or return !!0;    # it may have begun late
    my $last = (ticks($client, $worker))[-1];
    $client->read_until(qr/^data: $worker-@{[$last + $count]}\r?$/m) or return !!0;
    my @ticks = ticks($client, $worker);
    return "@ticks" eq join ' ', $ticks[0] .. $ticks[-1];
}

sub kill_and_wait {
    my $pid = shift;
    kill KILL => $pid;
    return wait_until($DEADLINE, sub { !is_running($pid) });
}

# Starts servers with that many workers altogether, runs a test, and checks that nothing is left.
sub on {
    my ($name, $count, %option) = @_;
    my $test = delete $option{test};
    my $what = join ', ', $name, $count == 1 ? "$WORKERS workers" : "$count servers", sort keys %{$option{env} || {}};
    subtest $what => sub {
        $folder  = new_folder;
        %env     = (HUB_SOCKET => "$folder/hub.sock", JOURNAL => "$folder/journal", %{delete $option{env} || {}});
        @servers = map { Testing::Server->start($name, $PSGI, env => \%env, %option) } 1 .. $count;
        $test->();
        $_->stop for splice @servers;
        ok wait_until($DEADLINE, sub { !hubs_at($env{HUB_SOCKET}) }), 'the hub process ends';
    };
    return;
}

sub in_event_loops {
    my $readers = streams_of_all_workers();
    my @readers = map { @$_ } values %$readers;
    my @runs    = runs();
    is scalar @runs, 1, 'the supply runs once';
    my $elected = $runs[0];
    ok receives_ticks($_, $elected, 5), 'a client receives each event of the supply once' for @readers;

    my ($id) = ask('/emit?own');
    like $id, qr/-[0-9]+\z/, 'a worker emits an event of its own';
    ok $_->has('own'), 'which each client receives' for @readers;
    is scalar(grep { $_ eq 'own' } data_of($_)), 1, 'once' for @readers;

    ok kill_and_wait($elected),                           'the elected worker is killed';
    ok wait_until($DEADLINE, sub { scalar runs() == 2 }), 'another worker runs the supply';
    my $next = (runs())[1];
    isnt $next, $elected, 'one that lives';
    ok receives_ticks($_, $next, 5), "a client receives each of its events once" for @readers;
    ok !$_->ended,                   'on the stream that it had'                 for @readers;

    my ($hub) = hubs_at($env{HUB_SOCKET});
    ok kill_and_wait($hub), 'the hub process is killed';
    $_->read_all for @readers;
    my @alive = grep { $_ != $elected } keys %$readers;

    # A stream that begins before its worker has noticed the loss ends, and the client reconnects. The elected worker is
    # the one that goes on: for a moment the one before may believe that it is.
    my $on = qr/^data: (([0-9]+)-[0-9]+)\r?$(?:(?:(?!^data: ).)*^data: \2-[0-9]+\r?$){9}/ms;
    my $after;
    my $is_running =
        sub { $after = Testing::Client->get($servers[-1]->port, '/events'); return $after->read_until($on, 5) };
    ok wait_until(2 * $DEADLINE, $is_running), 'a worker runs the supply after that, and no other one';
    my ($first, $third) = $after->text =~ $on;
    ok scalar(grep { $_ == $third } @alive), 'one that lives';
    my @ticks = ticks($after, $third);
    is "@ticks", join(' ', $ticks[0] .. $ticks[-1]), 'each of its events comes once';
    ok receives_ticks($after, $third, 10), 'and so do the next ones';
    unlike $after->text =~ s/.*?(?=^data: \Q$first\E)//msr, qr/^data: (?!$third-)[0-9]+-/m,
        'none of another worker comes after that';
    $_->leave for @readers, $after;
    return;
}

on($_, 1, workers => $WORKERS, test => \&in_event_loops) for Testing::Server->tested('Feersum');
on('Twiggy', $WORKERS, test => \&in_event_loops);

on 'Starman', 1,
    workers => $WORKERS,
    test    => sub {
    my $readers = streams_of_all_workers();
    my @readers = map { @$_ } values %$readers;
    my @runs    = runs();
    is scalar @runs, 1, 'the supply runs once';
    my $elected = $runs[0];
    my $id      = 'none';
    ok wait_until($DEADLINE, sub { ($id) = ask('/supplies?fed'); $id ne 'none' }),
        'a request to the elected worker emits through its emitter';
    ok $_->has('fed'), 'each client receives the event' for @readers;
    is scalar(grep { $_ eq 'fed' } data_of($_)), 1, 'once' for @readers;

    ok kill_and_wait($elected), 'the elected worker is killed';
    ok wait_until($DEADLINE, sub { ask('/emit?still'); scalar runs() == 2 }),
        'another worker runs the supply at a request';
    my $next = (runs())[1];
    ok $_->has($next), 'each client receives its event, on the stream that it had' for @readers;

    ok wait_until($DEADLINE, sub { (ask("/stop?$next"))[1] == $next }), 'the server is stopped in the elected worker';
    ok wait_until($DEADLINE, sub { ask('/emit?still'); scalar runs() > 2 }), 'another worker runs the supply';

    is + (ask('/handle'))[0], 500, 'a filehandle is not a supply on a server that blocks';
    ok wait_until($DEADLINE, sub { $servers[0]->log =~ /a filehandle as supply needs an event loop/ }),
        'the log says why';
    like $servers[0]->log, qr/or in a process of its own that publishes to the hub at [^\n]*named[.]psgi line/,
        'and what else can be done';
    $_->leave for @readers;
    };

on 'Starlet', 1,
    workers => $WORKERS,
    env     => {NOTIFY => 1},
    test    => sub {
    my $readers = streams_of_all_workers();
    ok kill_and_wait((runs())[0]),                        'the elected worker is killed';
    ok wait_until($DEADLINE, sub { scalar runs() == 2 }), 'a signal has an idle worker run the supply';
    $_->leave for map { @$_ } values %$readers;
    };

done_testing;
