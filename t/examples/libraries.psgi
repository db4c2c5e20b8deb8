# Pages on which htmx or Turbo show what a hub publishes: each library reads the stream with its own means, or is
# given one that the tabs share. /set?text=... publishes to all of them; /streams counts the streams of a page.

use Testing::Application;
use EventSource::Hub;
use Plack::App::File;
use Plack::Builder;
use Plack::Request;
use Plack::Util;

my $hub = EventSource::Hub->new(per_process => 1, start => 'oldest');

my $HTMX_2  = '/lib/htmx-ext-sse/node_modules/htmx.org/dist/htmx.min.js';
my $CONNECT = q{import { connect } from '/hub.js'};

# The name of each page; the event that its library understands, and the page.
my %PAGE = (
    'htmx-4' => [htmx => <<'HTML'],
<script src="/lib/htmx.org/dist/htmx.min.js"></script>
<script src="/lib/htmx.org/dist/ext/hx-sse.min.js"></script>
<div hx-sse:connect="/events/htmx-4" hx-swap="none"></div>
HTML
    'htmx-4-shared' => [htmx => <<"HTML"],
<script src="/lib/htmx.org/dist/htmx.min.js"></script>
<script type="module">
$CONNECT
connect('/events/htmx-4-shared', {start: -10}).onmessage = event =>
  htmx.swap({text: event.data, swap: 'none', sourceElement: document.body})
</script>
HTML
    'htmx-2' => [htmx => <<"HTML"],
<script src="$HTMX_2"></script>
<script src="/lib/htmx-ext-sse/dist/sse.min.js"></script>
<div hx-ext="sse" sse-connect="/events/htmx-2" sse-swap="message" hx-swap="none"></div>
HTML
    'htmx-2-shared' => [htmx => <<"HTML"],
<script src="$HTMX_2"></script>
<script src="/lib/htmx-ext-sse/dist/sse.min.js"></script>
<script type="module">
$CONNECT
htmx.createEventSource = url => connect(url, {start: -10})
</script>
<div hx-ext="sse" sse-connect="/events/htmx-2-shared" sse-swap="message" hx-swap="none"></div>
HTML
    'turbo' => [turbo => <<'HTML'],
<script type="module" src="/lib/@hotwired/turbo/dist/turbo.es2017-esm.js"></script>
<turbo-stream-source src="/events/turbo"></turbo-stream-source>
HTML
    'turbo-shared' => [turbo => <<"HTML"],
<script type="module">
import { connectStreamSource } from '/lib/\@hotwired/turbo/dist/turbo.es2017-esm.js'
$CONNECT
connectStreamSource(connect('/events/turbo-shared', {start: -10}))
</script>
HTML
);

# A text as the event of a library.
my %EVENT = (
    htmx  => sub { return {data => qq{<p id="shown" hx-swap-oob="true">$_[0]</p>}} },
    turbo => sub {
        return {data => qq{<turbo-stream action="update" target="shown"><template>$_[0]</template></turbo-stream>}};
    },
);

sub publish {
    my $text = Plack::Util::encode_html(Plack::Request->new(shift)->query_parameters->{text});
    $hub->publish($_ => $EVENT{$PAGE{$_}[0]}->($text)) for keys %PAGE;
    return [200, ['Content-Type' => 'text/plain'], []];
}

sub streams {
    my ($name) = shift->{PATH_INFO} =~ m{\A/([\w-]+)\z};
    return [200, ['Content-Type' => 'text/plain'], [$hub->subscribers($name)]];
}

sub page {
    my ($name) = shift->{PATH_INFO} =~ m{\A/([\w-]+)\z};
    return [200, ['Content-Type' => 'text/html; charset=utf-8'], [<<"HTML"]];
<!doctype html>
<link rel="icon" href="data:,">
$PAGE{$name}[1]<p id="shown"></p>
HTML
}

builder {
    mount '/events'  => $hub->to_app(channels => sub { $_[0]{PATH_INFO} =~ s{\A/}{}r });
    mount '/hub.js'  => EventSource::Hub->script_app;
    mount '/lib'     => Plack::App::File->new(root => 'examples/cookbook/node_modules')->to_app;
    mount '/set'     => \&publish;
    mount '/streams' => \&streams;
    mount '/'        => \&page;
};
