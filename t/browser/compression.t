# A real browser's EventSource receives the events of a stream with a content coding one by one: those of rounds, and what is
# encoded alone between them.

use lib 't/lib';
use Testing         qw(Browser Server=Starman);
use Testing::Server qw(path);
use EventSource::XS::Request;

my $ROWS    = 5_000;    # in the large events: 30 of them are several rounds
my $LARGE   = 30;
my $server  = Testing::Server->start('Starman', 't/compression/streams.psgi', workers => 1);
my $browser = Testing::Browser->start;
$browser->open($server->url('/page'));
my $accepted = $browser->evaluate(q{fetch('/accepts').then(response => response.text())});
note "The browser accepts $accepted.";

# Opens a stream in the page. Events are seen as their first words and length.
sub listen_to {
    my ($path) = @_;
    $browser->evaluate(<<"JS");
        window.seen = []; window.opened = 0; window.failed = 0;
        window.source = new EventSource('$path');
        source.onopen    = () => opened++;
        source.onerror   = () => failed++;
        source.onmessage = event => seen.push(event.data.slice(0, 40));
        1
JS
    $browser->wait_for('opened === 1', 'the stream is open');
    return;
}

sub receives_ok {
    my ($text, $name) = @_;
    return $browser->wait_for("seen[seen.length - 1].startsWith('$text')", $name);
}

for my $coding (grep { EventSource::XS::Request->coding($_) ne 'identity' } qw(gzip zstd)) {
    subtest $coding => sub {
        like $accepted, qr/\b$coding\b/, 'the browser accepts the coding';
        is $browser->evaluate(<<"JS"), $coding, 'and is sent it';
            (async () => {
                const leaves = new AbortController();
                const response = await fetch('/hub?accepts=$coding', {signal: leaves.signal});
                leaves.abort();
                return response.headers.get('Content-Encoding');
            })()
JS
        my $name = "browser-$coding";
        listen_to(path('/lf', accepts => $coding, name => $name, channels => $name));
        my ($number, @expected) = (0);
        for my $turn (1, 2) {
            for (1 .. 4) {
                $server->ask('/publish', channel => $name, from => ++$number, rows => 50);
                receives_ok("number $number.", "event $number arrives before the next is published");
                push @expected, $number;
            }
            $server->ask('/push', name => $name, data => "pushed $turn");
            receives_ok("pushed $turn", 'so does a push');
            $server->ask('/publish', channel => $name, from => ++$number, rows => 50);
            receives_ok("number $number.", 'and the event after it');
            $server->ask('/publish', channel => $name, from => $number + 1, count => $LARGE, rows => $ROWS);
            $number += $LARGE;
            receives_ok("number $number.", 'several rounds arrive');
        }
        is_deeply $browser->evaluate(
            q{seen.filter(text => text.startsWith('number')).map(text => parseInt(text.slice(7)))}),
            [1 .. $number], 'each event arrives once, in order';
        $server->ask('/finish', name => $name);
        $browser->wait_for('failed === 1', 'the end of the response is noticed');
        $browser->evaluate('source.close(); 1');
    };
}
is_deeply [$browser->complaints], [], 'the browser reports no error';

done_testing;
