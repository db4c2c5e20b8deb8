# A million events and more, over real sockets, to 200 clients who hang up again and again, wherever they are, and come back
# with the last id that they had: none is lost, none comes twice, and nobody is told of a gap.
#
#   prove -b t/hub/million.t         100,000 events to each of 200: 20,000,000
#   script/soak million              MILLION_EVENTS=1000000, a million to each: 200,000,000, which takes a minute
#
# The server is Starman with one worker, which publishes them; the clients are bench/load's. History is shorter than all
# that is published, and what is published waits for the slowest client, not the hub for anybody.

use strict;
use warnings;

use lib                qw(t/lib bench/streams/lib);
use Testing::Developer qw(needs_command only_developers);
use HTTP::Tiny;
use JSON::PP qw(decode_json);
use Load;
use Testing::Server;
use Test::More;
use Time::HiRes qw(sleep time);

my $CLIENTS = 200;
my $AT_ONCE = 500;                               # events in one request
my $AHEAD   = 2_000;                             # events that the slowest client may be behind when more are published
my $HISTORY = $AHEAD + 2 * $AT_ONCE;
my $EVENTS  = $ENV{MILLION_EVENTS} || 100_000;
my $SECONDS = 60 + $EVENTS / 500;                # for all of it

# Bytes of a connection, on average: each client comes back dozens of times, or a hundred in a long run.
my $CUT_BYTES = $EVENTS > 100_000 ? 400_000 : 200_000;

only_developers();
needs_command('cargo');
Testing::Server->require_or_skip_all('Starman');
Load->build;

my $server = Testing::Server->start(
    'Starman', 't/hub/million.psgi',
    workers => 1,
    args    => [qw(--max-requests 1000000000 --keepalive 0)],
    env     => {MILLION_HISTORY => $HISTORY},
);
my $seed = time % 1_000_000;
my $load = Load->start(
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

is $seen->{slowest},  $EVENTS,            "every client has had number $EVENTS";
is $seen->{received}, $EVENTS * $CLIENTS, 'each of them all that were published';
is_deeply [@$seen{qw(lost twice malformed)}], [0, 0, 0], 'none is missing, none came twice, none is broken';
is $seen->{told}, 0, 'and nobody was told of a gap';
cmp_ok $seen->{returns}, '>=', 10 * $CLIENTS, 'they came back, again and again';
cmp_ok $seen->{amid},    '>',  $CLIENTS,      'after they had hung up in the middle of something';
is $seen->{ended}, 0, 'and the server ended none of them';
note sprintf '%d events to %d clients, %d times back, %d times amid something, in %.1f s: %.0f deliveries a second',
    $EVENTS, $CLIENTS, @$seen{qw(returns amid)}, $took, $seen->{received} / $took;

my $stats = decode_json($http->get($server->url('/stats'))->{content});
is $stats->{hub}{published}, $EVENTS, 'the hub has published as many';
is_deeply $stats->{hub}{slow}, {disconnect => 0, gap => 0, newest => 0}, 'and nobody was too slow for it';
cmp_ok $stats->{hub}{history}{events}, '<=', $HISTORY, 'of which it remembers no more than it may';
$load->stop;

done_testing;
