# share/eventsource-hub.js in Node with real streams: a hub's that a proxy cuts, and those that finish.

use lib 't/lib';
use Testing       qw(native);
use JSON::MaybeXS qw(decode_json);
use Testing::CuttableProxy;
use Testing::Developer qw(needs_command);
use Testing::Node      qw(run_script);
use Testing::Server;

needs_command('node');

my $EVENTS = 1_000;    # as many as a hub keeps
my @CUTS   = (
    [777,   'reset'],
    [-1,    'reset'],
    [784,   'close'],
    [0,     'close'],
    [4_000, 'reset'],
    ['id',  'close'],
    [30,    'close'],
    [9_001, 'close']
);

for my $name (qw(Starman Twiggy)) {
    subtest "a hub on $name" => sub {
        my $server = Testing::Server->start($name, 't/client/hub.psgi', workers => 1);
        my $proxy  = Testing::CuttableProxy->start($server->port);
        $server->ask("/publish?hub=all&from=1&to=$EVENTS");
        $proxy->plan(@CUTS);
        my ($seen) =
            run_script(fetch => {url => $proxy->url('/stream/all'), does => 'number', last => "$EVENTS"});
        is_deeply [map { $_->{data} } @{$seen->{events}}], [1 .. $EVENTS], 'each event arrives once and in order';
        my $state = $proxy->state;
        is $state->{left}, 0, 'the stream was cut at each place';
        cmp_ok @{$seen->{errors}}, '>=', 3, 'each is an error, until polls take over from streams that do not last';
        is grep({ defined } @{$seen->{errors}}), 0, 'without a status';
    };

    subtest "finish on $name" => sub {
        my $server = Testing::Server->start($name, 't/browser/finish.psgi', workers => 1);
        my ($seen) = run_script(fetch => {url => $server->url('/events?node')});
        is_deeply [map { $_->{data} } @{$seen->{events}}], [qw(one two done)], 'each event arrives';
        is $seen->{state}, 2, 'the stream is closed';
        is_deeply decode_json($server->ask('/requests'))->{node}, [200], 'it is not asked for again';
    };
}

done_testing;
