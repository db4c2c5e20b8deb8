# A hub for numbers, and a page with an EventSource that keeps what it receives: numbers, and the reasons of gaps.
#
#   GET  /                                the page
#   GET  /events                          the stream
#   POST /publish?from=7&count=3&bytes=B  publishes these numbers, each with so many bytes of data
#   GET  /stats                           the hub's statistics
#
# The environment variable HUB has more settings of the hub, as JSON.

use Testing::Application qw(query);
use EventSource::Hub;
use JSON::PP                qw(decode_json encode_json);
use Testing::NumberedEvents qw(numbered);
use Plack::Builder;

my $PAGE = <<'HTML';
<!doctype html>
<title>Numbers</title>
<link rel="icon" href="data:,">
<script>
const received = [];
let opened = 0;
const source = new EventSource('/events');
source.onopen = () => opened++;
source.onmessage = ({data}) => {
    const word = parseInt(data) + '.';
    const isWhole = data === word.repeat(1 + data.length / word.length).slice(0, data.length);
    received.push(isWhole ? parseInt(data) : 'broken: ' + data);
};
source.addEventListener('gap', ({data}) => received.push(JSON.parse(data).reason));
</script>
HTML

my $hub = EventSource::Hub->new(retry => [50, 100], %{decode_json($ENV{HUB} || '{}')});

sub answer {
    my ($type, $bytes) = @_;
    return [200, ['Content-Type' => $type, 'Content-Length' => length $bytes, Connection => 'close'], [$bytes]];
}

sub publish {
    my %query = query(shift);
    my ($from, $count, $bytes) = @query{qw(from count bytes)};
    $hub->publish('numbers', numbered($_, $bytes)->{data}) for $from .. $from + $count - 1;
    return answer('text/plain', 'published');
}

builder {
    mount '/events'  => $hub->to_app(channels => sub { 'numbers' });
    mount '/publish' => \&publish;
    mount '/stats'   => sub { answer('application/json',         encode_json($hub->stats)) };
    mount '/'        => sub { answer('text/html; charset=utf-8', $PAGE) };
};
