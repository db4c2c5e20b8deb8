# The server behind xt/browser/proxies.t and bench/proxies: a page that keeps what of the channel "numbers" it receives, and
# when.
#
#   GET /?QUERY        the page
#   GET /events?QUERY  the stream; max_age=SECONDS ends it after that time
#
# The environment variable HUB has the settings of the hub, as JSON, and STREAM those of its streams. EVERY is the number of
# seconds after which the script tries a stream beside polls.

use Testing::Application;
use EventSource::Hub;
use JSON::PP qw(decode_json);
use Plack::Builder;

my $PAGE = <<'HTML';
<!doctype html>
<meta charset="utf-8">
<title>Numbers</title>
<link rel="icon" href="data:,">
<script type="module">
import { connect } from '/eventsource-hub.js';

const now = () => performance.timeOrigin + performance.now();
const received = [];  // the number, the time of its publication and the delay in ms of each event
const gaps = [];
const ways = [];
const begun = now();
const hub = connect('/events' + location.search);
hub.onmessage = ({data}) => {
    const {number, at} = JSON.parse(data);
    received.push([number, at, now() - at]);
};
hub.addEventListener('gap', ({data}) => gaps.push(`${JSON.parse(data).reason} after ${received.at(-1)?.[0]}`));
hub.addEventListener('transport', ({transport, reason}) => ways.push(`${transport} ${reason ?? ''} ${Math.round((now() - begun) / 100) / 10}`));

window.last = () => received.at(-1)?.[0];
window.total = () => received.length;

// What came of the events: those that were published in the first seconds of the page do not count as late.
window.summary = seconds => {
    const numbers = received.map(([number]) => number);
    const seen = new Set(numbers);
    const delays = received.filter(([, at]) => at > begun + seconds * 1000).map(([, , delay]) => delay).sort((a, b) => a - b);
    const quantile = part => delays[Math.round(part * (delays.length - 1))];
    const lost = [];
    for (let number = numbers[0]; number <= Math.max(...numbers); number++) if (!seen.has(number)) lost.push(number);
    return {
        way: hub.transport ?? 'stream',
        ways, gaps,
        begins: received.length ? (received[0][1] + received[0][2] - begun) / 1000 : undefined,
        events: numbers.length,
        first: numbers[0],
        last: numbers.at(-1),
        lost: lost.length,
        missing: lost.slice(0, 5),
        twice: numbers.length - seen.size,
        jumps: numbers.flatMap((number, at) => at && number !== numbers[at - 1] + 1 ? `${number} after ${numbers[at - 1]}` : []).slice(0, 5),
        disordered: numbers.filter((number, at) => at && number < numbers[at - 1]).length,
        p50: quantile(0.5), p99: quantile(0.99), max: quantile(1),
    };
};
document.title = 'ready';
</script>
HTML

my $hub = EventSource::Hub->new(%{decode_json($ENV{HUB})});

my %streams;

sub stream {
    my $env     = shift;
    my ($age)   = $env->{QUERY_STRING} =~ /\bmax_age=([0-9]+)/;
    my %setting = (%{decode_json($ENV{STREAM} || '{}')}, $age ? (max_age => $age) : ());
    my $app     = $streams{$age // ''} ||= $hub->to_app(channels => sub { return 'numbers' }, %setting);
    return $app->($env);
}

# The script with a shorter time.
sub script {
    my $env    = shift;
    my $answer = EventSource::Hub->script_app->({%$env, HTTP_ACCEPT_ENCODING => 'identity'});
    my $script = join '', @{$answer->[2]};
    $script =~ s/\b18e4\b/1e3*$ENV{EVERY}/ and $script =~ s/\b18e5\b/1e4*$ENV{EVERY}/
        or die "no time\n"
        if $env->{QUERY_STRING} =~ /reader/;
    return [200, ['Content-Type' => 'text/javascript', 'Content-Length' => length $script], [$script]];
}

builder {
    mount '/events'             => \&stream;
    mount '/eventsource-hub.js' => $ENV{EVERY} ? \&script : EventSource::Hub->script_app;
    mount '/' =>
        sub { [200, ['Content-Type' => 'text/html; charset=utf-8', 'Content-Length' => length $PAGE], [$PAGE]] };
};
