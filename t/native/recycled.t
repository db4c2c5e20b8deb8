# Workers that end while they have streams: recycled by their server, ended by a signal, or killed. Their clients are told
# when to reconnect, streams of other workers stay open.

use lib 't/lib';
use Testing;
use Testing::Server qw(subtest_once);
use Testing::Server;

my $DEADLINE = 15;    # seconds; Starlet's parent checks its workers once a second
my $STREAMS  = 5;

# The servers and the causes that end a worker: requests, a signal to the server, a signal to the worker.
my @ENDS = (
    ['Starman', 'requests',           workers => 1, args => ['--max-requests',       9]],
    ['Starlet', 'requests',           workers => 1, args => ['--max-reqs-per-child', 9]],
    ['uWSGI',   'requests',           workers => 1, args => ['--max-requests',       9, '--min-worker-lifetime', 0]],
    ['Starman', 'TERM to the server', workers => 1],
    ['Starman', 'HUP to the server',  workers => 1],
    ['Starman', 'QUIT to the server', workers => 1],
    ['Starman', 'TERM to the worker', workers => 1],
    ['Starlet', 'TERM to the server', workers => 1],
    ['Starlet', 'HUP to the server',  workers => 1],
    ['Starlet', 'TERM to the worker', workers => 1],
    ['Twiggy',  'QUIT to the server'],
    ['Feersum', 'TERM to the server'],
    ['Feersum', 'QUIT to the server'],
    ['uWSGI',   'TERM to the server', workers => 1],
    ['uWSGI',   'HUP to the server',  workers => 1],
);

sub clients_reconnect {
    my ($run, $how) = @_;
    my @clients = map { $run->get('/keep') } 1 .. $STREAMS;
    is scalar(grep { $_->read_until(qr/data: kept by \d+\r\n\r\n/) } @clients), $STREAMS, 'the streams begin';
    my ($worker) = $clients[0]->text =~ /kept by (\d+)/;
    is $run->ask('/tell?bytes=100000'), join(' ', (1) x $STREAMS), 'the last event is pushed';
    if ($how eq 'requests') {
        wait_until $DEADLINE, sub {
            (eval { $run->ask('/pid') } // $worker) != $worker;
        };
    }
    elsif ($how =~ /(\w+) to the server/) { kill $1 => $run->{pid} }
    elsif ($how =~ /(\w+) to the worker/) { kill $1 => $worker }
    my @retry;
    for my $client (@clients) {
        $client->read_all($DEADLINE);
        push @retry, $1
            if $client->body =~ /\Adata: kept by \d+\r\n\r\ndata: x{50000}x{50000}\r\n\r\nretry: (\d+)\r\n\z/;
    }
    is scalar @retry, $STREAMS, 'each client receives all events and a retry'
        or diag substr $clients[0]->body =~ s/x{50,}/x.../r, 0, 200;
    is scalar(grep { $_ >= 2_000 && $_ <= 4_000 } @retry), $STREAMS, 'retry is from 2 to 4 seconds';

    # Feersum's status is another if it has waited in vain for connections to end.
    if ($run->{name} eq 'Feersum') {
        wait_until($DEADLINE, sub { $run->has_ended });
        is $run->{status}, 0, 'the server ends gracefully';
    }
    return if $how =~ /(?:TERM|QUIT) to the server/;
    my $next = $run->get('/keep');
    ok $next->read_until(qr/data: kept by \d+\r\n\r\n/), 'a new worker answers';
    unlike $next->text, qr/kept by $worker\r/, 'the new worker is not the old one';
    return;
}

for (grep { Testing::Server->tested($_->[0]) } @ENDS) {
    my ($name, $how, %option) = @$_;
    subtest "$name: $how" => sub {
        my $run = Testing::Server->start($name, 't/data/native.psgi', journal => 1, %option);
        clients_reconnect($run, $how);
    };
}

# The worker of this application is sent TERM after it has looked for one, and before it waits for the next client.
subtest_once 'Starlet: TERM just before accept' => sub {
    my $run    = Testing::Server->start('Starlet', 't/data/late_signal.psgi', journal => 1, workers => 1);
    my $client = $run->get('/keep');
    ok $client->read_until(qr/data: kept by \d+\r\n\r\n/), 'a stream begins';
    ok $client->read_until(qr/retry: \d+\r\n/),            'it ends with its worker, though no other client comes';
};

subtest_once 'a killed worker ends its own streams only' => sub {
    my $run = Testing::Server->start('Starman', 't/data/native.psgi', journal => 1, workers => 2);
    my (%by_worker, @clients);
    wait_until $DEADLINE, sub {
        push @clients, my $client = $run->get('/keep');
        $client->read_until(qr/kept by (\d+)\r/) && push @{$by_worker{$client->body =~ /kept by (\d+)\r/ ? $1 : 0}},
            $client;
        return keys %by_worker == 2;
    };
    my ($dead, $alive) = sort keys %by_worker;
    kill KILL => $dead;
    is scalar(grep { !$_->read_all($DEADLINE) } @{$by_worker{$dead}}), 0, 'the streams of the killed worker end';
    my $told = 0;
    wait_until $DEADLINE, sub {
        $told += () = (eval { $run->ask('/tell?text=on') } // '') =~ /1/g;
        $told >= @{$by_worker{$alive}};
    };
    is scalar(grep { !$_->read_until(qr/data: on\r\n\r\n/) } @{$by_worker{$alive}}), 0,
        'the streams of the other worker receive events';
    eventually_ok $DEADLINE, 'a new worker replaces the killed one' => sub {
        my $pid = eval { $run->ask('/pid') };
        $pid && $pid ne $dead && $pid ne $alive;
    };
};

done_testing;
