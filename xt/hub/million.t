# A million events and more, over real sockets, to 200 clients that disconnect again and again at any byte, and reconnect
# with their last id: no event is lost or duplicated, and no client receives a gap.
#
#   prove -b xt/hub/million.t        100,000 events to each of 200: 20,000,000
#   script/soak million              MILLION_EVENTS=1000000, a million to each: 200,000,000, which takes a minute
#
# The server is Starman with one worker, which publishes the events; the clients are those of bench/load. The history is
# shorter than the number of events. The test publishes more when the slowest client has caught up; the hub never waits.

use lib                qw(t/lib bench/streams/lib);
use Testing            qw(Server=Starman);
use Testing::Developer qw(needs_command);
use HTTP::Tiny;
use JSON::PP qw(decode_json);
use Load;
use Time::HiRes qw(sleep time);

my $CLIENTS = 200;
my $AT_ONCE = 500;                               # events in one request
my $AHEAD   = 2_000;                             # the largest backlog of the slowest client at which more is published
my $HISTORY = $AHEAD + 2 * $AT_ONCE;
my $EVENTS  = $ENV{MILLION_EVENTS} || 100_000;
my $SECONDS = 60 + $EVENTS / 500;                # for the whole test

# The average bytes of a connection: each client reconnects dozens of times, or a hundred times in a long run.
my $CUT_BYTES = $EVENTS > 100_000 ? 400_000 : 200_000;

needs_command('cargo');
Load->build;

my %start  = (workers => 1, args => [qw(--keepalive 0)], env => {MILLION_HISTORY => $HISTORY});
my $server = Testing::Server->start('Starman', 't/hub/million.psgi', %start);
my $seed   = time % 1_000_000;
my $load   = Load->start(
    'returning',
    port        => $server->port,
    streams     => $CLIENTS,
    seed        => $seed,
    'cut-bytes' => int $CUT_BYTES,
    seconds     => int $SECONDS + 60,
);
is $load->answer(60)->{here}, $CLIENTS, "$CLIENTS clients follow (seed $seed)";

my $http      = HTTP::Tiny->new(keep_alive => 0, timeout => 60);
my $since     = time;
my $published = 0;
my $seen      = $load->ask('tell', 30);
while ($seen->{slowest} < $EVENTS && time < $since + $SECONDS) {
    if ($published < $EVENTS && $published <= $seen->{slowest} + $AHEAD) {
        my $count  = $EVENTS - $published < $AT_ONCE ? $EVENTS - $published : $AT_ONCE;
        my $answer = $http->post($server->url(sprintf '/publish?from=%d&count=%d', $published + 1, $count));
        BAIL_OUT("the server does not publish: $answer->{status}") if !$answer->{success};
        $published += $count;
    }
    else { sleep 0.002 }
    $seen = $load->ask('tell', 30);
}
my $took = time - $since;

is $seen->{slowest},  $EVENTS,            "every client has received number $EVENTS";
is $seen->{received}, $EVENTS * $CLIENTS, 'every client has received all published events';
my $lost = $load->ask("judge $EVENTS", 30);
is_deeply [@$lost{qw(told silent)}, @$seen{qw(twice out_of_order malformed)}], [0, 0, 0, 0, 0],
    'no event is lost, duplicated, out of order or malformed';
is $seen->{gaps}, 0, 'no client received a gap';
cmp_ok $seen->{returns}, '>=', 10 * $CLIENTS, 'each client reconnected ten times on average';
cmp_ok $seen->{amid},    '>',  $CLIENTS,      'clients disconnected in the middle of an event';
is $seen->{ended}, 0, 'the server ended no stream';
note sprintf '%d events to %d clients, %d times back, %d times amid something, in %.1f s: %.0f deliveries a second',
    $EVENTS, $CLIENTS, @$seen{qw(returns amid)}, $took, $seen->{received} / $took;

my $stats = decode_json($http->get($server->url('/stats'))->{content});
is $stats->{hub}{published}, $EVENTS, 'the hub counts all published events';
is_deeply $stats->{hub}{slow}, {disconnect => 0, gap => 0, latest => 0}, 'the hub counts no slow stream';
cmp_ok $stats->{hub}{history}{events}, '<=', $HISTORY, 'the hub retains no more events than its history allows';
$load->stop;

done_testing;
