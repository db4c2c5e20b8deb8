# The demonstration in a real browser: its charts fill, its log is written and read, and a stream that the server ends is
# gone on with where it was.

use strict;
use warnings;
use utf8;

use lib 't/lib';
use Browser;
use File::Temp qw(tempdir);
use Server;
use Test::More;

binmode $_, ':encoding(UTF-8)' for map { Test::More->builder->$_ } qw(output failure_output todo_output);

Browser->require_or_skip_all;
my $browser = Browser->start;

my $STATE     = q{document.getElementById('state').textContent.trim()};
my $NUMBERS   = q{[...document.querySelectorAll('#log .number')].map(number => +number.textContent)};
my $SHOWN_ID  = q{document.getElementById('last-event-id').textContent};
my $VIEWERS   = q{document.getElementById('viewers').textContent};
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

done_testing;
