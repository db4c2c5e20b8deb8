# A page that keeps everything that its EventSource reports, and the stream that it opens. The stream ends after the cases.
# A client that reconnects is sent the id that it has sent.

use Testing::Application;
use Testing::BrowserCases qw(cases);
use Plack::App::EventSource;
use Plack::Builder;

my $PAGE = <<'HTML';
<!doctype html>
<title>Events</title>
<link rel="icon" href="data:,">
<script>
const events = [];
const states = [];
const source = new EventSource('/events');
const noteState = () => states.push({state: source.readyState, time: performance.now()});
const keep = ({type, data, lastEventId}) => events.push({type, data, lastEventId});
noteState();
source.onopen = source.onerror = noteState;
for (const name of ['message', 'ping', 'größe', 'resumed']) source.addEventListener(name, keep);
source.addEventListener('done', event => { keep(event); source.close(); noteState(); });
</script>
HTML

my $events = Plack::App::EventSource->new(
    retry      => 100,
    handler_cb => sub {
        my $connection = shift;
        my $id         = $connection->last_event_id;
        if (!defined $id) {
            $connection->push(@{$_->[1]}) for cases();
        }
        elsif ($id ne 'second') {
            $connection->push({retry => 1000});
            $connection->push({event => 'resumed', id => 'second', data => $id});
        }
        else {
            $connection->push({event => 'done', data => $id});
        }
        $connection->close;
    },
)->to_app;

builder {
    mount '/events' => $events;
    mount '/'       => sub { [200, ['Content-Type' => 'text/html; charset=utf-8', 'Connection' => 'close'], [$PAGE]] };
};
