# The demonstration in a real browser: its charts fill, its log is written and read, and a stream that the server ends is
# gone on with where it was. Two workers hold a crowd besides, and lose none of it when one of them ends.

use strict;
use warnings;
use utf8;

use lib 't/lib';
use Browser;
use Client;
use File::Temp qw(tempdir);
use Program;
use Server;
use Test::More;

binmode $_, ':encoding(UTF-8)' for map { Test::More->builder->$_ } qw(output failure_output todo_output);

Browser->require_or_skip_all;
my $browser = Browser->start;

my $STATE     = q{document.getElementById('state').textContent.trim()};
my $NUMBERS   = q{[...document.querySelectorAll('#log .number')].map(number => +number.textContent)};
my $SHOWN_ID  = q{document.getElementById('last-event-id').textContent};
my $VIEWERS   = q{document.getElementById('viewers').textContent};
my $RECEIVED  = q{+document.getElementById('received').textContent};
my $WORKERS   = q{[...document.getElementById('workers').rows].map(row => +row.dataset.pid)};
my $LAST_NOTE = q{[...document.querySelectorAll('#log .note')].at(-1)};

# An expression that is true when this chart has a line of at least two points, and a figure.
sub chart_is_drawn {
    my $id = shift;
    return qq{document.querySelector('#$id .line').getAttribute('d')?.includes('L')
        && document.querySelector('#$id .line').getBoundingClientRect().width > 0
        && /[0-9]/.test(document.querySelector('#$id output').textContent)
        && /now .*[0-9]/.test(document.querySelector('#$id svg').getAttribute('aria-label'))};
}

# Writes a line with the form of the page.
sub write_line {
    my ($text) = @_;
    $browser->evaluate(
        qq{document.getElementById('note').value = '$text', document.querySelector('#write button').click()});
    return;
}

my @figures = -r '/proc/stat' ? qw(cpu memory load network) : qw(load);

for my $name (qw(Starman Twiggy Feersum)) {
    subtest $name => sub {
        Server->require_or_skip_all($name);
        my $folder = tempdir(CLEANUP => 1);
        my $server = Server->start(
            $name, 'examples/dashboard/app.psgi',
            workers => $name eq 'Starman' ? 8 : undef,
            env     => {DASHBOARD_STATE => $folder, DASHBOARD_EVERY => 0.1}
        );
        $browser->open($server->url('/'));
        $browser->wait_for("$STATE === 'open'",   'the page shows that its stream is open');
        $browser->wait_for(chart_is_drawn($_),    "a chart is drawn: $_") for @figures;
        $browser->wait_for("$VIEWERS === '1'",    'one viewer');
        $browser->wait_for("$NUMBERS.length > 3", 'the log shows how the page was loaded');

        write_line('<b>Grüße</b> ☺');
        $browser->wait_for("$LAST_NOTE?.querySelector('.text').textContent === '<b>Grüße</b> ☺'",
            'a line that is written is shown as it was written');
        $browser->wait_for("+$SHOWN_ID >= +$LAST_NOTE.querySelector('.number').textContent",
            'and the last event ID is shown');

        $browser->evaluate("window.other = new EventSource('events'), true");
        $browser->wait_for("$VIEWERS === '2'", 'a second viewer');
        $browser->evaluate('other.close(), true');
        $browser->wait_for("$VIEWERS === '1'", 'who leaves');

        # As soon as the stream is gone, a second before the browser comes back, a line is written.
        $browser->evaluate(
            "const state = document.getElementById('state');
            window.states = [];
            new MutationObserver(() => {
                if (states.push(state.textContent.trim()) === 1) fetch('log', {method: 'POST', body: 'missed'});
            }).observe(state, {attributes: true});"
        );
        $browser->evaluate("document.getElementById('end').click()");
        $browser->wait_for("$LAST_NOTE.querySelector('.text').textContent === 'missed'",
            'a line that it missed is sent');
        $browser->wait_for("$STATE === 'open'", 'when the stream is open again');
        is $browser->evaluate('states[0]'), 'connecting',                          'which was shown as connecting';
        is $browser->evaluate("document.getElementById('opened').textContent"), 2, 'for the second time';
        my $numbers = $browser->evaluate($NUMBERS);
        is_deeply $numbers, [1 .. @$numbers], 'no line is missing, none is there twice';

        $browser->evaluate("document.getElementById('toggle').click()");
        $browser->wait_for("$STATE === 'closed'", 'closed by hand');
        $browser->evaluate("document.getElementById('toggle').click()");
        $browser->wait_for("$STATE === 'open' && $NUMBERS.length > 3", 'and opened by hand');
        is_deeply [$browser->complaints], [], 'the browser has complained about nothing';
        $browser->open('about:blank');    # lets go of the stream, or it would complain of the end of the server
    };
}

# What the crowd says about itself, as an ordinary request tells it; and what the page shows of that.
my $CROWD = q{fetch('crowd').then(response => response.json())};

sub shown { return qq{document.getElementById('crowd-$_[0]').textContent} }

subtest 'a crowd, held by two workers of Starman' => sub {
    my $SIZE   = 40;
    my $SECRET = 'of this test';
    Server->require_or_skip_all('Starman');
    my $folder = tempdir(CLEANUP => 1);
    my %shared = (DASHBOARD_STATE => $folder, DASHBOARD_EVERY => 0.2, DASHBOARD_TICKER => $SECRET);
    my $server = Server->start(
        'Starman', 'examples/dashboard/app.psgi',
        workers => 2,
        args    => [qw(--keepalive 0 --max-requests 1000000)],
        env     => \%shared
    );
    my $ticker = Program->start(['examples/dashboard/ticker', $server->url('')], %shared);
    my $crowd =
        Program->start(['examples/dashboard/crowd', $server->url(''), $SIZE], %shared, DASHBOARD_SAY_EVERY => 0.2);
    $browser->open($server->url('/'));
    $browser->wait_for(sprintf("$VIEWERS === '%d'", $SIZE + 1), 'the page and the crowd are its viewers');
    $browser->wait_for(shown('connected') . " === '$SIZE'",     'the page shows the crowd');
    my @dots = "[...document.querySelectorAll('#seats i')]";
    $browser->wait_for("@dots.length === $SIZE && @dots.every(dot => dot.dataset.tone !== 'none')",
        'each of it in the colour of a worker');
    my @workers = @{$browser->wait_for("$WORKERS.length === 2 && $WORKERS", 'two workers hold it')};
    $browser->wait_for("/[0-9] ms/.test(document.querySelector('#request output').textContent)",
        'the time of an ordinary request is shown');

    my $answers = $browser->evaluate(
        "(async () => {
            const pids = new Set(), received = $RECEIVED;
            while (pids.size < 2 || $RECEIVED < received + 5) pids.add((await fetch('crowd')).headers.get('X-Worker'));
            return [...pids].map(Number).sort((a, b) => a - b);
        })()"
    );
    is_deeply $answers, [sort { $a <=> $b } @workers], 'both answer, while the figures go on';

    write_line('to all');
    my $line   = "[...document.querySelectorAll('#log .note')].find(note => note.textContent.includes('to all'))";
    my $number = $browser->wait_for("+$line?.querySelector('.number').textContent", 'a line is written');
    $browser->wait_for("$CROWD.then(crowd => crowd.line >= $number && crowd.reached === $SIZE)",
        'and all of the crowd have received it');

    my $refused = Client->get($server->port, '/tick', method => 'POST', headers => ['Content-Length' => 0]);
    ok $refused->read_all, 'somebody else ticks';
    is $refused->status, 403, 'and is refused';
    is_deeply [$browser->complaints], [], 'the browser has complained about nothing';

    my ($ended) = @workers;
    kill TERM => $ended;
    $browser->wait_for("!$WORKERS.includes($ended)", 'a worker ends');
    $browser->wait_for("$WORKERS.length === 2",      'another comes');
    write_line('missed by nobody');
    $browser->wait_for("$CROWD.then(crowd => crowd.returns && crowd.connected === $SIZE && crowd.reached === $SIZE)",
        'those that it held come back');
    my $seen = $browser->evaluate($CROWD);
    cmp_ok $seen->{line}, '>', $number + 1, 'lines have been written meanwhile';
    is_deeply [@$seen{qw(gaps duplicates)}], [0, 0], 'and nobody has missed one, or been sent one twice';
    $browser->wait_for(shown('returns') . " === '$seen->{returns} times'", 'the page shows how often they came back');
    is $browser->evaluate(shown('gaps')), 0, 'and that nothing is missing';
    $browser->open('about:blank');
    is $crowd->stop, 0, 'the crowd leaves';
    ok !-e "$folder/crowd", 'and says nothing any more';
    $ticker->stop;
};

done_testing;
