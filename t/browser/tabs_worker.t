# Tabs of a real browser whose SharedWorker is killed at the worst moments: before a tab has heard it, and before a new tab has
# a position. Each receives each event once, in order, of one stream. Tabs that have been given more than others are in
# t/browser/tabs_leave.t.

use lib 't/lib';
use Testing qw(Tabs=Chromium);

my $browser = Testing::Browser->start;

# A tab waits for a second before it comes to the next worker; this one waits for return_to_worker.
my $WAIT = 'window.original = setTimeout;'
    . 'window.setTimeout = (f, ms, ...given) => ms === 1000 ? window.come = () => f(...given) : original(f, ms, ...given), 1';

sub open_waiting {
    my $tab = shift->open;
    $tab->evaluate($WAIT);
    return $tab;
}

sub kill_worker {
    my ($tabs, @waiting) = @_;
    $tabs->end_reader('kill');
    $_->wait_for('window.come', "tab $_->{name} has lost its worker") for @waiting;
    return;
}

# A worker that knows a tab waits for its end, and the tab for that of the worker.
sub return_to_worker {
    my ($tab, $count) = @_;
    $tab->evaluate('come(), 1');
    $tab->wait_for("navigator.locks.query().then(({pending}) => pending.length >= $count)",
        "tab $tab->{name} has come to the next one");
    return;
}

subtest 'before a tab has heard it' => sub {
    my $tabs = Testing::Tabs->start($browser);
    $tabs->open;
    $tabs->open(dead => 1);
    is $tabs->streams, 1, 'the tab shares the stream of the next worker';
    $tabs->each_receives_ok(5, 'each tab has each event');
    $tabs->close_tabs;
};

subtest 'before a new tab has a position' => sub {
    my $tabs = Testing::Tabs->start($browser, position => 'none');
    $tabs->open(waits => 1)->wait_for('window.hub?.readyState === 1', 'a tab has its stream');
    ok wait_until($DEADLINE, sub { $tabs->streams == 1 }), 'the hub has it, too';
    $tabs->publish(5);
    my $other = open_waiting($tabs);
    $tabs->each_receives_ok(5, 'each tab has each event');
    kill_worker($tabs, $other);
    $tabs->open(waits => 1)->wait_for('window.hub?.readyState === 1', 'a new tab has its stream');
    return_to_worker($other, 4);
    ok wait_until($DEADLINE, sub { $tabs->hub->stats->{resumed} && $tabs->streams == 1 }), 'the stream is resumed';
    $tabs->each_receives_ok(5, 'each tab has each event once, in order');
    $tabs->close_tabs;
};

subtest 'it sends texts, which are copied faster than objects' => sub {
    my $tabs = Testing::Tabs->start($browser);
    my @all  = map { $tabs->open(heard => 1) } 1, 2;
    $tabs->each_receives_ok(500, 'each tab has each event once, in order');
    for my $tab (@all) {
        is $tab->evaluate('heard.filter(message => typeof message !== "string").length'), 0, 'all messages are texts';
        is $tab->evaluate('heard.flatMap(text => JSON.parse(text).entries ?? []).filter(({data}) => data).length'),
            $tab->evaluate('received.length'), 'each event is in one';
        note $tab->evaluate('heard.length'), ' messages';
    }
    $tabs->close_tabs;
};

done_testing;
