# A page with an EventSource polyfill, and the hub that it subscribes to. /publish publishes numbers, /cut breaks the
# connections of /events and ends the streams of /ending, /seen returns the ids with which clients have reconnected.

use strict;
use warnings;

use EventSource::Hub;
use Plack::App::EventSource;
use Plack::Builder;

# Internet Explorer 8 and 9 have XDomainRequest instead of an XMLHttpRequest that streams. It cannot set headers.
my $OLD = <<'JS';
self.XDomainRequest = function () {
    const request = new XMLHttpRequest();
    this.open = (method, url) => request.open(method, url);
    this.send = () => request.send();
    this.abort = () => request.abort();
    Object.defineProperty(this, 'responseText', {get: () => request.responseText});
    request.onprogress = () => this.onprogress();
    request.onload = () => this.onload();
    request.onerror = () => this.onerror();
};
Object.defineProperty(XMLHttpRequest.prototype, 'responseType', {value: undefined});
JS

# The file, the code to run before it, the name of its EventSource, and the path of its stream. amvtek's reconnects when a
# response ends, and gives up for good when a connection breaks.
my @AMVTEK = ('eventsource-polyfill/dist/eventsource.js', "self._eventSourceImportPrefix = 'Poly';", 'PolyEventSource');
my %POLYFILL = (
    yaffle => ['event-source-polyfill/src/eventsource.js', '',                'EventSourcePolyfill', '/events'],
    old    => [$AMVTEK[0],                                 "$OLD $AMVTEK[1]", $AMVTEK[2],            '/ending'],
    amvtek => [@AMVTEK,                                    '/ending'],
);

my $PAGE = <<'HTML';
<!doctype html>
<title>Polyfill</title>
<link rel="icon" href="data:,">
<script>%s</script>
<script src="/source/%s"></script>
<script>
const events = [];
let errors = 0;
const source = new %s('%s');
source.onerror = () => errors++;
source.addEventListener('message', ({data, lastEventId}) => events.push({data, lastEventId}));
source.addEventListener('gap', ({data}) => events.push({gap: data}));
</script>
HTML

my $hub = EventSource::Hub->new(retry => 50);
my @open;    # a duplicate handle of each stream's connection
my @connections;
my @queries;    # the queries of the clients
my $number = 0;

my $events = $hub->to_app(channels => sub { 'news' });
my $ending = Plack::App::EventSource->new(
    retry      => 50,
    handler_cb => sub {
        my $connection = shift;
        push @connections, $connection;
        $hub->subscribe($connection, 'news');
    },
)->to_app;

sub note_query {
    my $env = shift;
    push @queries,
        "$env->{QUERY_STRING} " . (defined $env->{HTTP_LAST_EVENT_ID} ? "with $env->{HTTP_LAST_EVENT_ID}" : 'without');
    return;
}

sub text {
    my ($type, $text) = @_;
    return [
        200, ['Content-Type' => "$type; charset=utf-8", 'Content-Length' => length $text, 'Connection' => 'close'],
        [$text]
    ];
}

builder {
    mount '/events' => sub {
        my $env = shift;
        open my $handle, '+<&', $env->{'psgix.io'} or die "psgix.io: $!\n";
        push @open, $handle;
        note_query($env);
        return $events->($env);
    };
    mount '/ending' => sub {
        my $env = shift;
        note_query($env);
        return $ending->($env);
    };
    mount '/cut' => sub {
        shutdown $_, 2 for splice @open;
        $_->close for splice @connections;
        return text('text/plain', 'cut');
    };
    mount '/publish' =>
        sub { $hub->publish(news => 'number ' . ++$number) for 1 .. 5; return text('text/plain', $number) };
    mount '/seen' => sub { return text('text/plain', join "\n", @queries) };
    mount '/page' => sub {
        my $name = substr $_[0]{PATH_INFO}, 1;
        return text('text/html', sprintf $PAGE, $POLYFILL{$name}[1], $name, @{$POLYFILL{$name}}[2, 3]);
    };
    mount '/source' => sub {
        my $name = substr $_[0]{PATH_INFO}, 1;
        open my $file, '<', "$ENV{NODE_MODULES}/$POLYFILL{$name}[0]" or die "$name: $!\n";
        local $/;
        return text('text/javascript', scalar readline $file);
    };
};
