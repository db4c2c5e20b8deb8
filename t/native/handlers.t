# A native stream after its handler has returned, on every server: it stays open, later requests push to it, and it ends. What
# does not need a later request is in Testing::Contract.

use lib 't/lib';
use Testing;
use Testing::Checks qw(check run_checks);
use Testing::Server;

# Whether handlers block, or an event loop runs. Each server has one process, so that all requests meet.
my @SERVERS = (
    ['HTTP::Server::PSGI' => 'blocks'],
    ['Starman' => 'blocks', workers => 1],
    ['Starlet' => 'blocks', workers => 1],
    ['Twiggy'  => 'loops'],
    ['Feersum' => 'loops'],
    ['uWSGI'   => 'blocks', workers => 1],
);

check 'a kept connection stays open after its handler, and its worker is free' => sub {
    my $run    = shift;
    my @kept   = map  { $run->get('/keep') } 1 .. 3;
    my @opened = grep { $_->read_until(qr/data: kept by \d+\r\n\r\n/) } @kept;
    is scalar @opened,                3,                                  'three streams begin whose handlers return';
    is $run->ask('/tell?text=hello'), '1 1 1',                            'a later request pushes to all three streams';
    is scalar(grep { $_->read_until(qr/data: hello\r\n\r\n/) } @kept), 3, 'all three clients receive the event';
    my ($native) = $run->ask('/stats') =~ /\bnative=(\d+)/;
    is $native, 3, 'stats counts three native streams';
    $_->leave for @kept;
    ends_by($run, $_, 'client') for @kept;
    is $run->ask('/tell?text=hello'), '', 'no stream is open when the clients have left';
};

# Requests to /dispatch run the callbacks, whether the server blocks or not.
sub ends_by {
    my ($run, $client, $why) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    wait_until(sub { $run->ask('/dispatch'); $run->journal($client) =~ /^closed by/m });
    like $run->journal($client), qr/^closed by $why$/m, "on_close reports the reason $why";
    is scalar(() = $run->journal($client) =~ /^closed by/mg), 1, 'on_close is called once';
    return;
}

check 'close sends all buffered events' => sub {
    my $run    = shift;
    my $client = $run->get('/backlog');
    $run->journal_ok($client, qr/^closed$/m, 'the handler closes with eight megabytes buffered');
    like $run->ask('/pid'),   qr/\A\d+\z/,          'the worker answers before the client reads';
    like $run->ask('/stats'), qr/\bbuffered=\d{7}/, 'the bytes are buffered';
    ok $client->read_all, 'the stream ends';
    is_deeply [$client->text =~ /^id: (\d+)\r$/mg], [1 .. 128], 'every event arrives once, in order';
    is length $client->text, 128 * (65_536 + length "data: \r\nid: \r\n\r\n") + 9 + 180 + 87,
        'each event arrives whole';
    ends_by($run, $client, 'application');
};

check 'a later request may end a stream', blocks => sub {
    my $run = shift;
    my @ends =
        (['/act/close', 'a later request closes the stream'], ['/act/forget', 'a later request drops the stream']);
    for my $end (@ends) {
        my ($path, $what) = @$end;
        my $client = $run->get('/keep');
        ok $client->read_until(qr/data: kept/), 'the stream begins';
        is $run->ask("$path?to=$client->{tag}"), 'gone', $what;
        ok $client->read_all && $client->complete, 'the stream ends';
        ends_by($run, $client, 'application');
    }
};

for (grep { Testing::Server->tested($_->[0]) } @SERVERS) {
    my ($name, $kind, %option) = @$_;
    subtest $name => sub {
        my $run = Testing::Server->start($name, 't/data/native.psgi', journal => 1, %option);
        run_checks($run, $kind);
    };
}

done_testing;
