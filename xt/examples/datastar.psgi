# A page of Datastar 1.0 over a named hub: a click posts its signals, and the answer comes by the stream of each page.
# DATASTAR is the folder with the library.

use Testing::Application qw(answer);
use EventSource::Datastar;
use EventSource::Hub;
use Plack::App::File;
use Plack::Builder;

my $datastar = 'EventSource::Datastar';
my $reload   = $datastar->execute_script('location.reload()');

my $hub = EventSource::Hub->new(
    name         => 'datastar',
    socket       => $ENV{HUB_SOCKET},
    start        => 'state',
    keep_history => {events => 3},
    gap_event    => $reload->{event},
    gap_data     => $reload->{data},
);

# The figures: elements, a signal, and an entry of a list that is no state.
sub add {
    my $env     = shift;
    my $signals = $datastar->read_signals($env) or return [400, [], []];
    my $count   = 1 + $signals->{count};
    $hub->publish(page => $datastar->patch_elements(qq(<p id="shown">\n$count</p>), key => 'shown', retain => 1));
    $hub->publish(page => $datastar->patch_signals({count => $count}, key => 'count', retain => 1));
    $hub->publish(page => $datastar->patch_elements("<li>$count</li>", selector => '#list', mode => 'append'));
    return [204, [], []];
}

sub remove {
    $hub->publish(page => $datastar->remove_elements('#list li'));
    $hub->publish(page => $datastar->execute_script('document.title = "empty"'));
    return [204, [], []];
}

builder {
    mount '/events'   => $hub->to_app(channels => sub { 'page' });
    mount '/add'      => \&add;
    mount '/remove'   => \&remove;
    mount '/datastar' => Plack::App::File->new(root => $ENV{DATASTAR})->to_app;
    mount '/streams'  => sub { return answer($hub->subscribers('page')) };
    mount '/'         => sub { [200, ['Content-Type' => 'text/html; charset=utf-8'], [<<'HTML']] };
<!doctype html>
<link rel="icon" href="data:,">
<script type="module" src="/datastar/datastar-core.js"></script>
<body data-signals:count="0" data-init="@get('/events', {openWhenHidden: true, retry: 'always', retryInterval: 100})">
<p id="shown"></p>
<output data-text="$count"></output>
<ul id="list"></ul>
<button id="add" data-on:click="@post('/add')">Add</button>
<button id="remove" data-on:click="@delete('/remove')">Remove</button>
HTML
};
