# Twenty tabs of a site over HTTP/1.1, in a real browser: with EventSource the seventh gets no answer any more, with the script
# of EventSource::Hub all share one stream.

use lib 't/lib';
use Testing;
use Testing::Tabs;

Testing::Tabs->require_or_skip_all($_) for Testing::Browser->names;

my $TABS = 20;
my $PING = q{fetch('/ping', {cache: 'no-store'}).then(response => response.text())};

for my $browser (Testing::Browser->names) {
    subtest "$browser: EventSource" => sub {
        my $tabs = Testing::Tabs->start($browser);
        my @tabs = map { $tabs->browser->new_tab($tabs->server->url('/blank')) } 1 .. 7;
        my $last = pop @tabs;
        for my $tab (@tabs) {
            $tab->evaluate(
                q{window.source = new EventSource('/numbers'), source.onmessage = ({data}) => window.seen = data, 1});
            $tab->wait_for('source.readyState === 1', 'a tab has its stream');
        }
        $last->evaluate("$PING.then(text => window.answer = text), 1");
        $tabs->publish(1);
        $_->wait_for('window.seen === "1"', 'a tab has received an event') for @tabs;
        ok !$last->evaluate('window.answer'), 'the seventh tab waits for an ordinary response meanwhile';
        $tabs[0]->evaluate('source.close()');
        $last->wait_for('window.answer === "pong"', 'it has it when the stream of another tab is closed');
    };

    subtest "$browser: the script" => sub {
        my $tabs = Testing::Tabs->start($browser);
        my @tabs = map { $tabs->open } 1 .. $TABS;
        is $tabs->streams, 1, "$TABS tabs have one stream";
        my $ms = $tabs[-1]->evaluate("(began => $PING.then(() => performance.now() - began))(performance.now())");
        ok $ms, 'an ordinary request of the last tab is answered';
        diag sprintf '%s: an ordinary request of tab %d: %.1f ms', $browser, $TABS, $ms;
        $tabs->each_receives_ok(100, 'each tab has each event once, in order');
    };
}

done_testing;
