# The demonstration in two windows of a real browser: both receive what one publishes, and one whose connection is cut receives
# what it has missed. They show the same board, and who is here. A crowd of clients that reconnect all the time loses no
# event. With a named hub, each button of the page is pressed that ends processes.

use lib     qw(t/lib examples/live/lib);
use Testing qw(Browser);
use Live::Processes;
use Testing::Client;
use JSON::PP qw(encode_json);
use Testing::Program;
use Testing::Redis;
use Testing::Server qw(subtest_once);

my $browser = Testing::Browser->start;
my @windows = ($browser->tabs, $browser->new_tab);
my ($teal, $violet) = @windows;

my $SIZE   = 20;
my $SECRET = 'of this test';

my $STATE  = q{document.getElementById('state').dataset.state};
my $OPENED = shown('opened');
my $NOTES  = q{[...document.querySelectorAll('#notes .text')].map(text => text.textContent)};
my $LAST   = q{[...document.querySelectorAll('#notes li')].at(-1)};
my $PEOPLE = q{[...document.querySelectorAll('#people li')].map(person => person.textContent).join()};
my $BOARD  = q{[...document.querySelectorAll('#tiles button')].map(tile => tile.textContent).join()};
my $BREAK  = q{[...document.querySelectorAll('#notes .break')].at(-1)?.textContent};

# A window notes each change of what it says about its connection: its state, and its last break between notes.
my $RECORD = q{
    window.said = [];
    const note = () => said.push([document.getElementById('state').dataset.state,
        [...document.querySelectorAll('#notes .break')].at(-1)?.textContent ?? ''].join(': '));
    new MutationObserver(note).observe(document.body, {attributes: true, childList: true, subtree: true});
};

sub shown { return qq{document.getElementById('$_[0]').textContent} }

# An expression that is true when this chart has a line of at least two points, and a figure.
sub chart_is_drawn {
    my $id = shift;
    return qq{document.querySelector('#$id .line').getAttribute('d')?.includes('L')
        && document.querySelector('#$id .line').getBoundingClientRect().width > 0
        && /[0-9]/.test(document.querySelector('#$id output').textContent)
        && /now .*[0-9]/.test(document.querySelector('#$id svg').getAttribute('aria-label'))};
}

sub click { my ($window, $id) = @_; return $window->evaluate("document.getElementById('$id').click()") }

# All that is recorded agrees with itself, after what was expected has been said.
sub said_ok {
    my ($window, $expected) = @_;
    $window->wait_for("$expected.test(said.at(-1))", "a window says $expected");
    my @said = @{$window->evaluate('[...new Set(said)]')};
    is_deeply [grep { !/\A(?:open: (?!Not)|lost: Not connected\z)/ } @said], [], 'its state and its notes agree';
    is_deeply [grep { /no notes missed/ } @said], [], 'and it never says that nothing is missed before it knows';
    return;
}

# The first screen of a window of this size has the field to write in and the notes, and nothing is beside it.
sub first_screen_ok {
    my ($window, $width, $height) = @_;
    $window->ask(
        'Emulation.setDeviceMetricsOverride',
        width             => $width,
        height            => $height,
        deviceScaleFactor => 1,
        mobile            => JSON::PP::false
    );
    $window->wait_for("innerWidth === $width && innerHeight === $height", "a window of $width x $height");
    my ($field, $notes) =
        @{$window->evaluate(q{['note', 'scroll'].map(id => document.getElementById(id).getBoundingClientRect().bottom)})
        };
    cmp_ok $field, '<', $height / 2, 'the field to write in is in the upper half';
    cmp_ok $notes, '<', $height,     'and the notes are in the first screen';
    ok $window->evaluate('document.documentElement.scrollWidth <= document.documentElement.clientWidth'),
        'nothing scrolls sideways';
    $window->ask('Emulation.clearDeviceMetricsOverride');
    return;
}

# The contrast of the quietest text, by the formula of WCAG 2.1.
my $CONTRAST = q{(() => {
    const light = (at, property) => getComputedStyle(document.querySelector(at))[property].match(/[0-9.]+/g).slice(0, 3)
        .map(part => part / 255).map(part => part <= .03928 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4)
        .reduce((sum, part, at) => sum + part * [.2126, .7152, .0722][at], 0);
    const [least, most] = [light('.hint', 'color'), light('.card', 'backgroundColor')].sort((one, other) => one - other);
    return (most + .05) / (least + .05);
})()};

sub colours_ok {
    my ($window, $scheme) = @_;
    $window->ask('Emulation.setEmulatedMedia', features => [{name => 'prefers-color-scheme', value => $scheme}]);
    my $channel = $window->evaluate('+getComputedStyle(document.body).backgroundColor.match(/[0-9]+/)[0]');
    cmp_ok $channel,                     $scheme eq 'dark' ? '<' : '>', 128, "the page is $scheme where the system is";
    cmp_ok $window->evaluate($CONTRAST), '>=',                          4.5, 'and its text is readable';
    return;
}

# Publishes a note by the form of a window.
sub write_note {
    my ($window, $text) = @_;
    $window->evaluate(
        qq{document.getElementById('note').value = '$text', document.querySelector('#write button').click()});
    return;
}

sub all_receive_ok {
    my $text = shift;
    for my $window (@windows) {
        $window->wait_for("$NOTES.at(-1) === '$text'", 'window ' . ($window == $teal ? 1 : 2) . " receives '$text'");
    }
    return;
}

# The status of the server's answer to a POST.
sub status_of {
    my ($server, $path, $body, @headers) = @_;
    return Testing::Client->post($server->port, $path, $body, 'Content-Type' => 'application/json', @headers)->status;
}

# Starts the demonstration with this environment, its crowd, and a window of Teal and one of Violet.
sub start_with_windows {
    my ($name, $more, %option) = @_;
    my %environment = (LIVE_SECRET => $SECRET, LIVE_LEAVE_EVERY => 1, LIVE_SAY_EVERY => 0, %$more);
    my $server      = Testing::Server->start($name, 'examples/live/app.psgi', %option, env => \%environment);
    my $crowd       = Testing::Program->start(['examples/live/crowd', $server->url(''), $SIZE], %environment);
    $teal->open($server->url('/?as=Teal'));
    $violet->open($server->url('/?as=Violet'));
    $_->wait_for("$STATE === 'open'", 'the stream of a window is open') for @windows;
    return ($server, $crowd);
}

for my $name (Testing::Server->tested(qw(Starman Starlet Twiggy Feersum))) {
    subtest $name => sub {
        my %option = (workers => 1, args => [qw(--keepalive 0 --read-timeout 1)]);
        %option = (workers => 1, args => [qw(--timeout 1)]) if $name eq 'Starlet';
        %option = () if $name =~ /Twiggy|Feersum/;
        my ($server, $crowd) = start_with_windows($name, {}, %option);

        write_note($teal, '<b>Grüße</b> ☺');
        all_receive_ok('<b>Grüße</b> ☺');
        is $violet->evaluate("$LAST.querySelector('.author').textContent"), 'Teal', 'a note shows its author';
        $teal->wait_for(shown('there-and-back') . " !== '–'",
            'the window that has published a note shows its round trip');
        write_note($violet, 'and back');
        all_receive_ok('and back');

        # A note is published as soon as the stream has ended, a second before the browser reconnects.
        $violet->evaluate(
            "const state = document.getElementById('state');
            window.states = [];
            new MutationObserver(() => {
                const headers = {'Content-Type': 'application/json'};
                const body = JSON.stringify({from: 'Lime', text: 'missed'});
                if (states.push(state.dataset.state) === 1) fetch('notes', {method: 'POST', headers, body});
            }).observe(state, {attributes: true});"
        );
        click($violet, 'cut');
        all_receive_ok('missed');
        $violet->wait_for("$STATE === 'open' && $OPENED === '2'",
            'the window whose connection was cut has a new stream');
        is $violet->evaluate('states[0]'), 'lost', 'the window showed that it was not connected';
        $violet->wait_for("/^Disconnected for [0-9.]+ s, 1 note replayed\$/.test($BREAK)",
            'the window shows how long it was disconnected and how many notes were replayed');
        is $violet->evaluate("$LAST.className"), 'replayed', 'a replayed note is marked';
        is $violet->evaluate(shown('replayed')), 1,          'replayed notes are counted';
        isnt $teal->evaluate("$LAST.className"), 'replayed',
            'the same note is not marked as replayed in the other window';
        is $teal->evaluate(shown('opened')), 1, 'the other window has opened one stream';
        is_deeply $violet->evaluate($NOTES), $teal->evaluate($NOTES), 'both windows have all notes, once and in order';

        $teal->wait_for('+' . shown('streams') . " >= 2 + $SIZE / 3", 'the figures include the number of streams');
        $teal->wait_for(shown('about') . ".startsWith('2 windows')",  'the figures include two windows');
        $teal->wait_for("document.querySelectorAll('#seats .lit').length >= $SIZE / 3",
            'a third of the crowd is connected');
        $teal->wait_for(chart_is_drawn($_),                      "a chart is drawn: $_") for qw(deliveries request);
        $teal->wait_for('+' . shown('returns') . " > $SIZE / 2", 'the crowd reconnects');
        is_deeply [map { $teal->evaluate(shown($_)) } qw(missed twice gaps)], [0, 0, 0],
            'the crowd has neither missed events nor duplicates nor gaps';
        is $crowd->log, '', 'the crowd has printed nothing';

        my $note = encode_json({from => 'x', text => 'x'});
        is status_of($server, '/figures', '{}'), 403, 'figures without the secret are refused';
        is status_of($server, '/notes', $note, Origin => 'http://example.com'), 403,
            'a note from a page of another site is refused';
        is status_of($server, '/notes', 'x'),              400, 'a note that is not JSON is refused';
        is status_of($server, '/act',   '{"what":"hub"}'), 403, 'a hub in the server is not killed';
        is status_of($server, '/notes', '{"text":null}'),  200, 'a note without text is accepted';
        is_deeply [map { $_->complaints } @windows], [], 'the browsers report no error';

        a_new_process_ok($server) if $name eq 'Starman';
        is $crowd->stop, 0, 'the crowd exits with 0';
        $_->open('about:blank') for @windows;    # ends the streams, or the browsers would report the end of the server
    };
}

# The server's process ends, and its hub with it: a window says that notes may be missing.
sub a_new_process_ok {
    my $server = shift;
    my ($pid) = $teal->wait_for("document.querySelector('#request small').textContent.match(/process ([0-9]+)/)?.[1]",
        "the page shows the server's process");
    write_note($teal, 'before');
    all_receive_ok('before');
    kill TERM => $pid;
    for my $window (@windows) {
        $window->wait_for(
            "[...document.querySelectorAll('#notes .break')].some(row => /restarted/.test(row.textContent))",
            'a window says that the server was restarted');
    }
    write_note($violet, 'after');
    all_receive_ok('after');
    $teal->wait_for("!document.querySelector('#request small').textContent.includes('process $pid;')",
        'the page shows another process');
    $teal->wait_for('+' . shown('gaps') . " >= $SIZE", 'each client of the crowd has received a gap event');
    is_deeply [map { $teal->evaluate(shown($_)) } qw(missed twice)], [0, 0],
        'the crowd has missed no event without a gap event';
    return;
}

subtest_once 'Starman, with four workers and a named hub' => sub {
    my $folder = new_folder;
    my $socket = "$folder/hub";
    Testing->need('named_hubs');
    my %option = (workers => 4, args => [qw(--keepalive 0 --read-timeout 1)]);
    my ($server, $crowd) = start_with_windows('Starman', {LIVE_HUB => $socket}, %option);
    write_note($teal, 'from one worker to all');
    all_receive_ok('from one worker to all');
    $_->wait_for(shown('workers') . ".split(' ').length === 4", 'a window shows the four workers') for @windows;
    $_->wait_for(shown('hub') . ' > 1',                         'a window shows the hub process')  for @windows;
    $teal->wait_for('+' . shown('streams') . " >= 2 + $SIZE / 3", 'the hub has the streams of all workers');
    my $hub = $teal->evaluate(shown('hub'));
    is_deeply [$hub], [Live::Processes::hub($socket)], 'it is the process that the kernel lists';
    my ($epoch) = $teal->evaluate(shown('last-event-id')) =~ /\A(\w+)-/;

    $_->wait_for("$PEOPLE === 'Teal,Violet'", 'a window shows who is here') for @windows;
    first_screen_ok($teal, @$_) for [1100, 900], [360, 740];
    colours_ok($teal, $_)       for qw(light dark);
    $teal->evaluate(q{document.querySelectorAll('#tiles button')[2].click()});
    $violet->wait_for("$BOARD === ',,Teal,,,,,,,,,'", 'the other window shows a painted tile');
    $violet->evaluate(q{document.querySelectorAll('#tiles button')[4].click()});
    $violet->evaluate(
        q{const name = document.getElementById('as'); name.value = 'Violetta'; name.dispatchEvent(new Event('change'))}
    );
    $teal->wait_for("$PEOPLE === 'Teal,Violetta'", 'a name changes');
    $violet->open('about:blank');
    $teal->wait_for("$PEOPLE === 'Teal'", 'a closed window leaves');
    $violet->open($server->url('/?as=Violet'));
    $violet->wait_for("$PEOPLE === 'Teal,Violet' && $BOARD === ',,Teal,,Violet,,,,,,,'",
        'a new window begins with the state');
    $teal->wait_for("$PEOPLE === 'Teal,Violet'", 'and the other one shows it');

    my $worker = $teal->evaluate(shown('worker'));
    click($teal, 'kill-worker');
    all_receive_ok("kill -9 of worker $worker");
    $teal->wait_for(shown('worker-state') . " === 'has ended'", 'the worker that has opened the stream has ended');
    write_note($violet, 'without that worker');
    all_receive_ok('without that worker');
    $teal->wait_for(shown('workers') . ".split(' ').length === 4", 'the server replaces the worker');

    my @workers = split / /, $teal->evaluate(shown('workers'));
    click($violet, 'deploy');
    all_receive_ok("deploy: HUP to " . $server->pid);
    $teal->wait_for(
        "(ids => ids.length === 4 && !ids.some(id => [@{[join ',', @workers]}].includes(+id)))("
            . shown('workers')
            . ".split(' '))",
        'all workers are replaced'
    );
    write_note($teal, 'by new workers');
    all_receive_ok('by new workers');
    is_deeply [map { $_->evaluate($OPENED) } @windows], [1, 1], 'the windows have had one stream each all the time';
    is_deeply [map { $_->evaluate(shown('told')) } @windows], [0, 0], 'and received no gap';
    is_deeply [map { $_->evaluate("$PEOPLE + $BOARD") } @windows], [('Teal,Violet,,Teal,,Violet,,,,,,,') x 2],
        'who is here and what is painted is the same after all that';
    is_deeply [map { $teal->evaluate(shown($_)) } qw(missed twice gaps)], [0, 0, 0],
        'the crowd has neither missed events nor duplicates nor gaps';
    is $teal->evaluate(shown('hub')), $hub, 'the hub process is the same';

    $teal->wait_for('+' . shown('returns') . " >= $SIZE", 'each client of the crowd has been connected');
    $violet->evaluate(
        q{const name = document.getElementById('as'); name.value = 'Jürgen'; name.dispatchEvent(new Event('change'))});
    $teal->wait_for("$PEOPLE === 'Jürgen,Teal'", 'a name changes again');
    $_->evaluate($RECORD) for @windows;
    click($teal, 'kill-hub');
    $_->wait_for("$OPENED === '2' && $STATE === 'open'", 'a window reconnects when the hub is killed') for @windows;
    said_ok($_, '/^open: Disconnected for .*; the hub was restarted: notes may be missing$/')          for @windows;
    $_->wait_for(shown('told') . " === '1'", 'and receives a gap')                                     for @windows;
    $_->wait_for("$PEOPLE === 'Jürgen,Teal' && $BOARD === ',,,,,,,,,,,'", 'and shows what the new hub knows')
        for @windows;
    write_note($violet, 'by another hub');
    all_receive_ok('by another hub');
    isnt + ($teal->evaluate(shown('last-event-id')) =~ /\A(\w+)-/)[0], $epoch, 'the hub has a new epoch';
    $teal->wait_for(shown('hub') . " > 1 && " . shown('hub') . " !== '$hub'", 'the hub has a new process');
    $teal->wait_for('+' . shown('gaps') . " >= $SIZE", 'each client of the crowd has received a gap event');
    is_deeply [map { $teal->evaluate(shown($_)) } qw(missed twice)], [0, 0],
        'the crowd has missed no event without a gap event';

    is status_of($server, '/act', '{"what":"hub"}', Origin => 'http://example.com'), 403,
        'a page of another site cannot kill the hub';
    is status_of($server, '/act', '{"what":"all"}'), 403, 'an unknown act is refused';
    my @before = Live::Processes::hub($socket);
    is status_of($server, '/act', encode_json({what => 'worker', from => 'x', pid => $$})), 200,
        'a process that is not a worker is asked for';
    $violet->wait_for("/^kill -9 of worker [0-9]+\$/.test($NOTES.at(-1)) && !$NOTES.at(-1).endsWith(' $$')",
        'a worker is killed in its place');
    is_deeply [Live::Processes::hub($socket)], \@before, 'the hub lives';
    is $crowd->log,  '', 'the crowd has printed nothing';
    is $crowd->stop, 0,  'the crowd exits with 0';
    $_->open('about:blank') for @windows;
    $server->stop;
    Live::Processes::end_hub($socket);
    is_deeply [Live::Processes::hub($socket)], [], 'no hub process is left';
};

# A hub with a store: its process is killed by the button, and nothing is missed.
sub a_killed_hub_misses_nothing_ok {
    my ($where, %store) = @_;
    my $folder = new_folder;
    my $socket = "$folder/hub";
    my %option = (workers => 4, args => [qw(--keepalive 0 --read-timeout 1)]);
    my ($server, $crowd) = start_with_windows('Starman', {LIVE_HUB => $socket, %store}, %option);
    $teal->wait_for(shown('when-killed') . ".includes('$where')", 'the page says where the hub keeps its events');
    $teal->wait_for('+' . shown('returns') . " >= $SIZE",         'each client of the crowd has been connected');

    for my $time (1, 2) {
        write_note($teal, "before $time");
        all_receive_ok("before $time");
        my $hub   = $teal->wait_for(shown('hub') . " > 1 && " . shown('hub'), 'the page shows the hub process');
        my $again = $time + 1;
        click($teal, 'kill-hub');
        $_->wait_for("$OPENED === '$again' && $STATE === 'open'", 'a window reconnects when the hub is killed')
            for @windows;
        write_note($violet, "after $time");
        all_receive_ok("after $time");
        $teal->wait_for(shown('hub') . " > 1 && " . shown('hub') . " !== '$hub'", 'the hub has a new process');
    }
    is_deeply $violet->evaluate($NOTES), $teal->evaluate($NOTES), 'both windows have the same notes in the same order';
    is_deeply [grep { !/\Akill/ } @{$teal->evaluate($NOTES)}], ['before 1', 'after 1', 'before 2', 'after 2'],
        'all of them, once';
    my $returns = $teal->evaluate('+' . shown('returns'));
    $teal->wait_for('+' . shown('returns') . " >= $returns + $SIZE", 'the crowd reconnects');
    is_deeply [map { $_->evaluate(shown('told')) } @windows], [0, 0], 'no window received a gap';
    is_deeply [map { $teal->evaluate(shown($_)) } qw(missed twice gaps)], [0, 0, 0],
        'the crowd has neither missed events nor duplicates nor gaps';
    is $crowd->log,  '', 'the crowd has printed nothing';
    is $crowd->stop, 0,  'the crowd exits with 0';
    $_->open('about:blank') for @windows;
    $server->stop;
    Live::Processes::end_hub($socket);
    is_deeply [Live::Processes::hub($socket)], [], 'no hub process is left';
    return;
}

subtest_once 'Starman, and a hub that keeps its events in a file' => sub {
    Testing->need('named_hubs');
    my $folder = new_folder;
    a_killed_hub_misses_nothing_ok('in a file', LIVE_FILE => "$folder/events.db");
};

# A window of its own waits for ten seconds, while the next test runs.
my $cut    = Testing::Server->start('Twiggy', 'examples/live/app.psgi');
my $frames = $browser->new_tab;

# An expression of one of its two frames.
sub in_frame { my ($at, $expression) = @_; return $expression =~ s/\bdocument\b/frames[$at].document/gr }

subtest_once 'a window whose connection is cut for ten seconds stays without it' => sub {
    $frames->open($cut->url('/two.html'));
    for my $at (0, 1) {
        $frames->wait_for(in_frame($at, "$STATE === 'open'"),                 "the stream of frame $at is open");
        $frames->wait_for(in_frame($at, shown('last-event-id') . " !== '–'"), 'it has an id to resume after');
    }
    $frames->evaluate(in_frame(1, "document.getElementById('cut-for-long').click()"));
    $frames->wait_for(in_frame(1, "$STATE === 'lost'"), 'the window is not connected');
    for my $text (qw(one two three)) {
        $frames->evaluate(in_frame(0, "document.getElementById('note').value = '$text'"));
        $frames->evaluate(in_frame(0, "document.querySelector('#write button').click()"));
        $frames->wait_for(in_frame(0, "$NOTES.at(-1) === '$text'"), "the other window publishes and receives '$text'");
    }
    is $frames->evaluate(in_frame(1, $STATE)), 'lost', 'the window is still not connected';
};

subtest_once 'Starman, and a hub that keeps its events in Redis' => sub {
    Testing::Redis->require_or_skip_all;
    Testing->need('named_hubs');
    my $redis = Testing::Redis->start;
    a_killed_hub_misses_nothing_ok('in Redis', LIVE_REDIS => $redis->url);
};

subtest_once 'a window whose connection was cut for ten seconds receives what it has missed' => sub {
    $frames->wait_for(in_frame(1, "$STATE === 'open'"),                 'the window has a new stream');
    $frames->wait_for(in_frame(1, "$NOTES.join() === 'one,two,three'"), 'the window has all notes');
    my ($seconds) = $frames->evaluate(in_frame(1, $BREAK)) =~ /\ADisconnected for ([0-9.]+) s, 3 notes replayed\z/;
    cmp_ok $seconds, '>', 9.9, 'the window was disconnected for ten seconds';
    is $frames->evaluate(in_frame(0, shown('about'))), 'no figures: they need script/demo',
        'there are no figures without a crowd';
    $frames->open('about:blank');
};

done_testing;
