# Pages with an EventSource on a stream that finishes: one listens for the event and closes its source, the other does not.
# /requests counts the requests of the streams and the responses to them.

use Testing::Application;
use JSON::MaybeXS qw(encode_json);
use Plack::App::EventSource;
use Plack::Builder;

my $PAGE = <<'HTML';
<!doctype html>
<title>Finish</title>
<link rel="icon" href="data:,">
<script>
const heard = [];
const source = new EventSource('/events?' + location.search.slice(1));
source.onmessage = ({data}) => heard.push(data);
if (location.search === '?listens') {
    source.addEventListener('finish', ({data}) => { heard.push('finish ' + data); source.close(); });
}
</script>
HTML

my %count;

my $events = Plack::App::EventSource->new(
    retry      => 50,
    handler_cb => sub {
        my $conn = shift;
        $conn->push($_) for qw(one two);
        $conn->finish(data => 'done');
    },
)->to_app;

builder {
    mount '/requests' => sub { [200, ['Content-Type' => 'application/json'], [encode_json(\%count)]] };
    mount '/events'   => sub {
        my $env      = shift;
        my $response = $events->($env);
        push @{$count{$env->{QUERY_STRING}}}, ref $response eq 'ARRAY' ? $response->[0] : 200;
        return $response;
    };
    mount '/' => sub { [200, ['Content-Type' => 'text/html; charset=utf-8', 'Connection' => 'close'], [$PAGE]] };
};
