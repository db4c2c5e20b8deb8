# What commands publish reaches the streams of all workers of a server, and what workers publish reaches a tail.

use lib 't/lib';
use Testing;
use Testing::CommandLine;
use JSON::PP ();
use Testing::Server;

my $WORKERS = 4;

my $shell  = Testing::CommandLine->new;
my $socket = $shell->folder . '/hub.sock';
my @hub    = ('--hub', 'test', '--socket', $socket);
my %env    = (HUB_SOCKET => $socket, JOURNAL => $shell->folder . '/journal');
my $server = Testing::Server->start('Starman', 't/data/hub_process.psgi', workers => $WORKERS, env => \%env);

my %readers = %{$server->streams_by_worker('/hub', $WORKERS)};
my @all     = map { @$_ } values %readers;
is scalar keys %readers, $WORKERS, 'there are streams on all workers';

subtest 'every stream receives what the command publishes, in its order' => sub {
    my $lines = join '', map { qq({"channel":"news","data":"line $_"}\n) } 1 .. 500;
    is $shell->run(\$lines, 'publish', @hub, '--json-lines', '--quiet')->{code}, 0, 'published';
    for my $client (@all) {
        $client->read_until(qr/^data: line 500\n/m);
        my @seen = $client->text =~ /^data: line ([0-9]+)\r?$/mg;
        is_deeply \@seen, [1 .. 500], 'a stream of worker ' . $client->header('X-Worker');
    }
};

subtest 'stats has the workers' => sub {
    my $stats = JSON::PP->new->utf8->decode($shell->run('stats', @hub, '--json', '--channel', 'news')->{out});
    is_deeply [sort @{$stats->{workers}}], [sort keys %readers], 'their process ids';
    is $stats->{subscribers}, @all, 'and the subscribers';
};

subtest 'a tail prints what a worker publishes' => sub {
    my $tail = $shell->start('tail', @hub, '--last', 1, 'news');
    ok wait_until($DEADLINE, sub { $tail->log =~ /line 500/ }), 'a tail follows';
    $server->ask('/publish?of-a-worker');
    ok wait_until($DEADLINE, sub { $tail->log =~ /\tnews\tmessage\t\S+\tof-a-worker\n/ }), 'the event of a worker';
};

$_->leave for @all;
$server->stop;
$shell->run('hub', 'stop', 'test', '--socket', $socket);
done_testing;
