# The demonstration in two windows of real browsers: what one publishes both receive, one that is dropped is sent what it has
# missed, and says so, and the figures live. A crowd follows besides, and loses nothing, although it hangs up all the time.

use strict;
use warnings;
use utf8;

use lib 't/lib';
use Testing::Browser;
use Testing::Client;
use JSON::PP qw(encode_json);
use Testing::Program;
use Testing::Server;
use Test::More;

binmode $_, ':encoding(UTF-8)' for map { Test::More->builder->$_ } qw(output failure_output todo_output);

Testing::Browser->require_or_skip_all;
my @browsers = map { Testing::Browser->start } 1, 2;
my ($teal, $violet) = @browsers;

my $SIZE   = 20;
my $SECRET = 'of this test';

my $STATE  = q{document.getElementById('state').dataset.state};
my $OPENED = shown('opened');
my $NOTES  = q{[...document.querySelectorAll('#notes .text')].map(text => text.textContent)};
my $LAST   = q{[...document.querySelectorAll('#notes li')].at(-1)};
my $BREAK  = q{[...document.querySelectorAll('#notes .break')].at(-1)?.textContent};

sub shown { return qq{document.getElementById('$_[0]').textContent} }

# An expression that is true when this chart has a line of at least two points, and a figure.
sub chart_is_drawn {
    my $id = shift;
    return qq{document.querySelector('#$id .line').getAttribute('d')?.includes('L')
        && document.querySelector('#$id .line').getBoundingClientRect().width > 0
        && /[0-9]/.test(document.querySelector('#$id output').textContent)
        && /now .*[0-9]/.test(document.querySelector('#$id svg').getAttribute('aria-label'))};
}

sub click { my ($browser, $id) = @_; return $browser->evaluate("document.getElementById('$id').click()") }

# Publishes a note with the form of a window.
sub write_note {
    my ($browser, $text) = @_;
    $browser->evaluate(
        qq{document.getElementById('note').value = '$text', document.querySelector('#write button').click()});
    return;
}

sub all_receive_ok {
    my $text = shift;
    for my $browser (@browsers) {
        $browser->wait_for("$NOTES.at(-1) === '$text'", 'window ' . ($browser == $teal ? 1 : 2) . " receives '$text'");
    }
    return;
}

# What the server answers to a request for something to be done.
sub status_of {
    my ($server, $path, $body, @headers) = @_;
    my @all    = ('Content-Type' => 'application/json', 'Content-Length' => length $body, @headers);
    my $client = Testing::Client->get($server->port, $path, method => 'POST', headers => \@all, then => $body);
    $client->read_all;
    return $client->status;
}

for my $name (qw(Starman Starlet Twiggy Feersum)) {
    subtest $name => sub {
        Testing::Server->require_or_skip_all($name);
        my %option = (workers => 1, args => [qw(--max-requests 1000000 --keepalive 0 --read-timeout 1)]);
        %option = (workers => 1, args => [qw(--max-reqs-per-child 1000000 --timeout 1)]) if $name eq 'Starlet';
        %option = () if $name =~ /Twiggy|Feersum/;
        my %environment = (LIVE_SECRET => $SECRET, LIVE_LEAVE_EVERY => 3, LIVE_SAY_EVERY => 0);
        my $server      = Testing::Server->start($name, 'examples/live/app.psgi', %option, env => \%environment);
        my $crowd       = Testing::Program->start(['examples/live/crowd', $server->url(''), $SIZE], %environment);
        $teal->open($server->url('/?as=Teal'));
        $violet->open($server->url('/?as=Violet'));
        $_->wait_for("$STATE === 'open'", 'a window follows') for @browsers;

        write_note($teal, '<b>Grüße</b> ☺');
        all_receive_ok('<b>Grüße</b> ☺');
        is $violet->evaluate("$LAST.querySelector('.author').textContent"), 'Teal', 'and is shown who has written it';
        $teal->wait_for(shown('there-and-back') . " !== '–'", 'its window knows how long it took');
        write_note($violet, 'and back');
        all_receive_ok('and back');

        # As soon as the stream is gone, a second before the browser comes back, somebody publishes.
        $violet->evaluate(
            "const state = document.getElementById('state');
            window.states = [];
            new MutationObserver(() => {
                const headers = {'Content-Type': 'application/json'};
                const body = JSON.stringify({from: 'Lime', text: 'missed'});
                if (states.push(state.dataset.state) === 1) fetch('notes', {method: 'POST', headers, body});
            }).observe(state, {attributes: true});"
        );
        click($violet, 'drop');
        all_receive_ok('missed');
        $violet->wait_for("$STATE === 'open' && $OPENED === '2'", 'the window that was dropped is back');
        is $violet->evaluate('states[0]'), 'connecting', 'it showed that it was away';
        $violet->wait_for("/^Away for [0-9.]+ s, 1 note replayed\$/.test($BREAK)",
            'and for how long, and what it missed');
        is $violet->evaluate("$LAST.className"), 'replayed', 'which is marked';
        is $violet->evaluate(shown('replayed')), 1,          'and counted';
        isnt $teal->evaluate("$LAST.className"), 'replayed', 'the other was sent it when it was published';
        is $teal->evaluate(shown('opened')),     1,          'for it was never away';
        is_deeply $violet->evaluate($NOTES), $teal->evaluate($NOTES), 'both have all notes, once and in order';

        $teal->wait_for('+' . shown('streams') . " >= 2 + $SIZE / 3", 'the figures tell of the streams');
        $teal->wait_for(shown('about') . ".startsWith('2 windows')",  'of which two are windows');
        $teal->wait_for("document.querySelectorAll('#seats .lit').length >= $SIZE / 3", 'the crowd is there');
        $teal->wait_for(chart_is_drawn($_),                      "a chart is drawn: $_") for qw(deliveries request);
        $teal->wait_for('+' . shown('returns') . " > $SIZE / 2", 'the crowd hangs up, and comes back');
        is_deeply [map { $teal->evaluate(shown($_)) } qw(missed twice gaps)], [0, 0, 0], 'and misses nothing';
        is $crowd->log, '', 'nor complains';

        my $note = encode_json({from => 'x', text => 'x'});
        is status_of($server, '/figures', '{}'), 403, 'somebody else tells figures, and is refused';
        is status_of($server, '/notes', $note, Origin => 'http://example.com'), 403, 'so is a page of another site';
        is status_of($server, '/notes', 'x'),                                   400, 'and what is no JSON';
        is status_of($server, '/drop', '{"name":"nobody"}'),                    200, 'nobody can be dropped';
        is status_of($server, '/notes', '{"text":null}'),                       200, 'an empty note is one';
        is_deeply [map { $_->complaints } @browsers], [], 'the browsers have complained about nothing';

        a_new_process_ok($server) if $name eq 'Starman';
        is $crowd->stop, 0, 'the crowd leaves';
        $_->open('about:blank') for @browsers; # lets go of the streams, or they would complain of the end of the server
    };
}

# Its process ends, and with it the hub: a window cannot know what it has missed, and says so.
sub a_new_process_ok {
    my $server = shift;
    my ($pid) = $teal->wait_for("document.querySelector('#request small').textContent.match(/process ([0-9]+)/)?.[1]",
        'the process is named');
    write_note($teal, 'before');
    all_receive_ok('before');
    kill TERM => $pid;
    for my $browser (@browsers) {
        $browser->wait_for(
            "[...document.querySelectorAll('#notes .break')].some(row => /restarted/.test(row.textContent))",
            'a window is told that the server is a new one');
    }
    write_note($violet, 'after');
    all_receive_ok('after');
    $teal->wait_for("!document.querySelector('#request small').textContent.includes('process $pid;')",
        'another process answers');
    $teal->wait_for('+' . shown('gaps') . " >= $SIZE", 'the crowd is told too');
    is_deeply [map { $teal->evaluate(shown($_)) } qw(missed twice)], [0, 0], 'and has missed nothing without that';
    return;
}

subtest 'a window that is dropped for ten seconds' => sub {
    Testing::Server->require_or_skip_all('Twiggy');
    my $server = Testing::Server->start('Twiggy', 'examples/live/app.psgi');
    $_->open($server->url('/two.html')) for $teal;
    my $frame = sub { my ($at, $expression) = @_; return $expression =~ s/\bdocument\b/frames[$at].document/gr };
    $teal->wait_for($frame->($_, "$STATE === 'open'"), "a window, $_ of two side by side") for 0, 1;
    $teal->evaluate($frame->(1,  "document.getElementById('drop-for-long').click()"));
    $teal->wait_for($frame->(1,  "$STATE === 'connecting'"), 'one is dropped');
    for my $text (qw(one two three)) {
        $teal->evaluate($frame->(0, "document.getElementById('note').value = '$text'"));
        $teal->evaluate($frame->(0, "document.querySelector('#write button').click()"));
        $teal->wait_for($frame->(0, "$NOTES.at(-1) === '$text'"), "the other publishes: $text");
    }
    is $teal->evaluate($frame->(1, $STATE)), 'connecting', 'it is still away';
    $teal->wait_for($frame->(1, "$STATE === 'open'"),                 'then it is back');
    $teal->wait_for($frame->(1, "$NOTES.join() === 'one,two,three'"), 'and has what it has missed');
    my ($seconds) = $teal->evaluate($frame->(1, $BREAK)) =~ /\AAway for ([0-9.]+) s, 3 notes replayed\z/;
    cmp_ok $seconds, '>', 9.9, 'it was away for as long as it was told';
    is $teal->evaluate($frame->(0, shown('about'))), 'no figures yet: script/demo brings them',
        'without a crowd, no figures';
    $teal->open('about:blank');
};

done_testing;
