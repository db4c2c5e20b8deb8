# A page of Datastar 1.0 over a named hub: a click posts its signals, and the answer comes by the stream of each page.
# DATASTAR is the folder with the library. The element that reads the stream is that of EventSource::Cookbook, "Datastar".
# /logout refuses all streams from then on, and ends them; /logout?finish=1 only ends them, with finish.

use Testing::Application qw(answer query);
use EventSource::Datastar;
use EventSource::Hub;
use Plack::App::File;
use Plack::Builder;
use Testing::SourceTree qw(slurp write_file);

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

# A list as a whole.
sub rows {
    my ($count, $mark) = @_;
    my $rows = join '', map { "<li>$_$mark</li>" } 1 .. $count;
    $hub->publish(page => $datastar->patch_elements(qq(<ol id="rows">$rows</ol>), key => 'rows', retain => 1));
    return answer('published');
}

sub channels { return -e "$ENV{HUB_SOCKET}.out" ? [401, [], []] : 'page' }

sub logout {
    my %query = query(shift);
    write_file("$ENV{HUB_SOCKET}.out", '') if !$query{finish};
    return answer($hub->end(topics => ['page'], %query));
}

my ($element) = slurp('perl/EventSource/Cookbook.pod') =~ /^ {4}(<div data-init=.*?<\/div>)/ms;
$element =~ s/'always'/'always', retryInterval: 100/ or die "the manual has no element\n";

sub remove {
    $hub->publish(page => $datastar->remove_elements('#list li'));
    $hub->publish(page => $datastar->execute_script('document.title = "empty"'));
    return [204, [], []];
}

builder {
    mount '/events'   => $hub->to_app(channels => \&channels);
    mount '/add'      => \&add;
    mount '/remove'   => \&remove;
    mount '/rows'     => sub { my %query = query(shift); rows(@query{qw(count mark)}) };
    mount '/logout'   => \&logout;
    mount '/login'    => sub { return answer('log in') };
    mount '/datastar' => Plack::App::File->new(root => $ENV{DATASTAR})->to_app;
    mount '/streams'  => sub { return answer($hub->subscribers('page')) };
    mount '/'         => sub { [200, ['Content-Type' => 'text/html; charset=utf-8'], [<<"HTML"]] };
<!doctype html>
<link rel="icon" href="data:,">
<script type="module" src="/datastar/datastar-core.js"></script>
<body data-signals:count="0">
$element
<p id="shown"></p>
<output data-text="\$count"></output>
<ul id="list"></ul>
<ol id="rows"></ol>
<button id="add" data-on:click="\@post('/add')">Add</button>
<button id="remove" data-on:click="\@delete('/remove')">Remove</button>
HTML
};
