# Pages of all kinds in real browsers with a stream of the script: those that a user leaves and comes back to, prerendered ones,
# with a strict Content Security Policy, with the classic script, of another origin with cookies, in a frame, with a name and
# password in their URL, and from a file; and workers of the application. What a page has closed it lets go.

use lib 't/lib';
use Testing;
use Testing::Nginx;
use Testing::Tabs;
use Testing::Server qw(path);
use File::Temp      ();
use JSON::MaybeXS   qw(encode_json);

Testing::Tabs->require_or_skip_all($_) for Testing::Browser->names;

my $FILE = <<'HTML';
<!doctype html>
<title>File</title>
<script type="module">
import { connect } from '%s/hub.js';
window.received = [];
window.hub = connect('%s/public');
hub.onmessage = ({data}) => received.push(+data);
</script>
HTML

# Workers of an application. ask sends each a message. The answers follow the first one that a worker has received.
my $WORKERS = <<'JS';
window.asked = 0,
window.workers = [Worker, SharedWorker].map(kind => {
    const worker = new kind('/worker.js', {type: 'module'}), heard = [];
    const port = worker.port ?? worker;
    port.onmessage = ({data}) => heard.push(data);
    return {worker, port, heard};
}),
window.ask = () => {
    window.asked++;
    for (const {port} of workers) port.postMessage({key: 'app', call: window.asked});
    return true;
},
window.strange = ({heard}) => heard.map(({data}) => JSON.stringify(data))
    .filter((data, at) => data !== JSON.stringify({key: 'app', call: window.asked - heard.length + 1 + at})),
1
JS

# Opens streams with their maps, and closes them when they have begun.
my $CLOSES = <<'JS';
import('/hub.js').then(async ({connect}) => {
    window.released = [];
    for (let count = 0; count < 5; count++) {
        const other = connect(`/state?member=m${count}`);
        released.push(new WeakRef(other), new WeakRef(other.state('stock')));
        await other.ready;
        other.close();
    }
    return 1;
})
JS

my $UNCLONEABLE = <<'JS';
(() => {
    try { EventSourceHub.connect('/numbers', {method: 'POST', body: new URLSearchParams('a=1'), share: true}) }
    catch (error) { return error.name }
})()
JS

# Chromium keeps a page that was left; the last one with a SharedWorker leaves that cache by itself. Firefox keeps none that had
# a request or a lock: it loads it anew.
my %CAME_BACK = (
    'Chromium, a SharedWorker' => 'window.persisted !== undefined',
    'Chromium'                 => 'window.persisted === true',
    'Firefox'                  => 'window.persisted === false',
);

# A page from a file, with a stream of the server.
sub page_of_file {
    my $tabs = shift;
    my $file = File::Temp->new(SUFFIX => '.html');
    my $site = $tabs->server->url('');
    print {$file} sprintf $FILE, $site, $site;
    close $file or die "$file: $!\n";
    return $file;
}

for my $browser (Testing::Browser->names) {
    my $tabs    = Testing::Tabs->start($browser);
    my $numbers = sub {
        my $name = shift;
        $tabs->publish(5);
        return $tabs->each_has_all_ok($name);
    };

    for my $way (Testing::Tabs->ways) {
        my ($name, %page) = @$way;
        subtest "$browser: a page that its user leaves and comes back to, $name" => sub {
            my @tabs = map { $tabs->open(%page) } 1, 2;
            $numbers->('each tab has each event');
            $tabs[0]->open($tabs->server->url('/blank'));
            $tabs->publish(5);
            $tabs[0]->evaluate('history.back(), 1');
            $tabs[0]->wait_for($CAME_BACK{"$browser, $name"} // $CAME_BACK{$browser}, 'the user is back');
            $tabs[0]->wait_for('window.hub?.readyState === 1',                        'its stream is open again');
            $numbers->('each tab has each event once, in order');
            $_->close for @tabs;
        };
    }

    # The history of the numbers is short. The second page has what the other channel published, not what was lost.
    for my $way ((Testing::Tabs->ways)[0, 1]) {
        my ($name, %page) = @$way;
        subtest "$browser: two pages of which each is told of a gap when its user comes back, $name" => sub {
            my $short =
                Testing::Tabs->start($tabs->browser, keep_history => {events => 5}, page => {%page, url => '/both'});
            my $other = $short->open(url => '/numbers');    # it keeps the worker
            my @pages = map { $short->open } 1, 2;
            for my $page (@pages) {
                $short->publish(1);
                $short->hub->publish(rare => {event => 'mine', data => $page->{name}});
                $_->wait_for("received.at(-1) === $short->{published} && mine.at(-1) === '$page->{name}'", 'it has all')
                    for $page, $pages[1];
                $page->open($short->server->url('/blank'));
            }
            $short->publish(20);
            for my $page (@pages) {
                $page->evaluate('history.back(), 1');
                $page->wait_for("window.received?.at(-1) === $short->{published}", 'the user is back');
                is_deeply $page->evaluate('received.slice(-6)'), ['evicted', 18 .. 22], 'it is told of the gap';
            }
            $short->close_tabs;
            }
            if $browser eq 'Chromium';
    }

    # Chromium freezes a SharedWorker with its last page: the second time before it hears that the page leaves.
    for my $way (Testing::Tabs->ways) {
        my ($name, %page) = @$way;
        subtest "$browser: the stream ends with the last page, $name" => sub {
            my $tab = $tabs->open(%page);
            my $url = $tab->evaluate('location.href');
            for my $turn (1, 2) {
                $tab->open('about:blank');
                ok wait_until($DEADLINE, sub { $tabs->hub->stats->{streams} == 0 }), "turn $turn: it has ended";
                $tab->open($url);
                $tab->wait_for('window.hub?.readyState === 1', 'the page is loaded again');
            }
            $tab->close;
        };
    }

    subtest "$browser: a worker of the application, dedicated and shared" => sub {
        my $tab = $tabs->browser->new_tab($tabs->server->url('/blank'));
        $tab->evaluate($WORKERS);
        $tab->wait_for('ask() && workers.every(({heard}) => heard.at(-1)?.state === 1)', 'each has a stream');
        $tabs->publish(5);
        $tab->wait_for("ask() && workers.every(({heard}) => heard.at(-1).numbers.at(-1) === $tabs->{published})",
            'and its events');
        is $tab->evaluate('workers[0].heard[0]?.url'), $tabs->server->url('/numbers'),
            'a URL is relative to that of its script';
        $tab->wait_for('workers.every(({heard}) => heard.at(-1).data?.call === window.asked)',
            'it answers each message');
        is_deeply $tab->evaluate('workers.flatMap(strange)'), [], 'once, and has it as it was sent';
        $tab->close;
    };

    # DevTools would forbid to prerender what they see.
    for my $way ((Testing::Tabs->ways)[0, 1], ['not shared', options => '{"share":false}']) {
        my ($name, %page) = @$way;
        subtest "$browser: a page that is prerendered, $name" => sub {
            my $tab = $tabs->open(%page);
            my $url = $tabs->server->url(path('/prerender', url => '/numbers', %page));
            $tab->evaluate('localStorage.clear()');
            my $target = $tabs->browser->ask_in(undef, 'Target.createTarget', url => $url)->{targetId};
            $tab->wait_for('localStorage.prerendered', 'it is loaded');
            is $tab->evaluate('localStorage.prerendered'), 'requested []', 'it asks for no stream';
            $tab->evaluate('localStorage.show = 1');
            $tab->wait_for('localStorage.shown', 'it has a stream when it is shown');
            is $tabs->streams, $page{options} ? 2 : 1, 'the streams of both tabs';
            $tabs->browser->ask_in(undef, 'Target.closeTarget', targetId => $target);
            $tab->close;
            }
            if $browser eq 'Chromium';
    }

    for my $way (Testing::Tabs->ways) {
        my ($name, %page) = @$way;
        subtest "$browser: what a page has closed, $name" => sub {
            my $tab = $tabs->open(%page);
            $tab->evaluate($CLOSES);
            my $collected = sub {
                $tab->ask('HeapProfiler.collectGarbage');
                return $tab->evaluate('released.every(reference => !reference.deref())');
            };
            ok wait_until($DEADLINE, $collected), 'it lets go';
            $tab->close;
            }
            if $browser eq 'Chromium';
    }

    subtest "$browser: a strict Content Security Policy" => sub {
        my @tabs = map { $tabs->open(csp => 1) } 1, 2;
        $numbers->('each tab has each event');
        is $tabs->streams, 1, 'they share a stream';
        $_->close for @tabs;
    };

    subtest "$browser: the classic script" => sub {
        my @tabs = map { $tabs->open(classic => 1) } 1, 2;
        $numbers->('each tab has each event');
        is $tabs->streams, 1, 'they share a stream';
        $_->close for @tabs;
        @tabs = map { $tabs->open(classic => 1, options => encode_json({worker => '/hub.js'})) } 1, 2;
        is $tabs->streams,                   1,           'they share that of a worker whose script is a module';
        is $tabs[0]->evaluate('leader()'),   undef,       'which reads it';
        is $tabs[0]->evaluate($UNCLONEABLE), 'TypeError', 'a body that cannot be sent to it is refused';
        $_->close for @tabs;
    };

    subtest "$browser: another origin, with cookies" => sub {
        Testing::Nginx->require_or_skip_all;
        my $nginx  = Testing::Nginx->start($tabs->server, 'documented');
        my $secret = $tabs->server->url('/secret');
        my $first  = $tabs->open(site => $nginx, url => $secret, waits => 1);
        $first->wait_for('events.includes("error 403")', 'without the cookie the stream is refused');
        is $first->evaluate('hub.readyState'), 2, 'for good';
        $first->evaluate('document.cookie = "key=sesame", 1');
        $first->close;
        my @tabs = map { $tabs->open(site => $nginx, url => $secret, options => '{"withCredentials":true}') } 1, 2;
        $numbers->('with the cookie each tab has each event');
        is $tabs->streams, 1, 'they share a stream';
        $_->close for @tabs;
    };

    subtest "$browser: a frame in a page of another site" => sub {
        my $tab  = $tabs->open;
        my $site = $tabs->server->url('/frame') =~ s/127[.]0[.]0[.]1/localhost/r;
        my $top  = $tabs->browser->new_tab($site);
        ok wait_until($DEADLINE, sub { $tabs->streams == 2 }),
            'its storage is not that of the tab: it has its own stream';
        $numbers->('the tab has each event');
        $top->wait_for("window.received?.at(-1) === $tabs->{published}", 'and so has the frame');
        $_->close for $top, $tab;
    };

    subtest "$browser: options that are equal" => sub {
        my @options =
            ({}, {method => 'get', start => 0}, {start => 0, key => 'x', gap => 'gap'}, {gap => 'gap', key => 'x'});
        my @tabs = map { $tabs->open(options => encode_json($_)) } @options;
        push @tabs, $tabs->open(url => '/numbers#part');
        is $tabs->streams, 2, 'whatever their order, defaults and fragment are, they share a stream';
        $_->close for @tabs;
    };

    # Firefox asks its user about such a page.
    subtest "$browser: a page whose URL has a name and a password" => sub {
        my $tab  = $tabs->open;
        my $with = $tabs->browser->new_tab($tabs->url =~ s{//}{//ann:secret@}r);
        $with->wait_for('window.hub?.readyState === 1', 'it has a stream');
        is $tabs->streams, 1, 'that of a page without them';
        $tabs->publish(1);
        $with->wait_for("received.at(-1) === $tabs->{published}", 'it has the event');
        $_->close for $with, $tab;
        }
        if $browser eq 'Chromium';

    subtest "$browser: a page from a file" => sub {
        my $file = page_of_file($tabs);
        my $tab  = $tabs->browser->new_tab("file://$file");
        $tab->wait_for('window.hub?.readyState === 1', 'it has a stream');
        $tabs->publish(1);
        $tab->wait_for("received.at(-1) === $tabs->{published}", 'it has the event');
        $tab->close;
    };
}

done_testing;
