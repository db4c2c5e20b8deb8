# Tabs of a real browser behind a proxy that holds each response back until it ends or a buffer is full, or refuses streams:
# they poll, as each of them is told, and have each event once and in order; when streams come through again, they have a
# stream. So it is if the server has room for one stream or poll only.

use lib 't/lib';
use Testing;
use Testing::Middlebox;
use Testing::Tabs;

Testing::Tabs->require_or_skip_all($_) for Testing::Browser->names;

sub each_has_way_ok {
    my ($tabs, $way, $name) = @_;
    my ($transport) = split ' ', $way;
    for my $tab ($tabs->tabs) {
        $tab->wait_for("hub.transport === '$transport' && events.includes('$way')", "tab $tab->{name}: $name")
            or diag $tab->evaluate('`${hub.transport} ${events}`');
    }
    return;
}

sub held_back {
    my ($browser, $url, @page) = @_;
    my $tabs  = Testing::Tabs->start($browser, page => {@page, url => $url}, env => {TRY_STREAM_EVERY => 2_000});
    my $proxy = Testing::Middlebox->start('hold', $tabs->server->port, path => $url);
    $tabs->publish(5);
    $tabs->open(site => $proxy, waits => 1) for 1, 2;
    each_has_way_ok($tabs, 'poll mute', 'it polls, and is told why');
    for (1 .. 3) {
        $tabs->each_receives_ok(20, 'each tab has each event once, in order');
    }

    # The first ones of a tab: a stream that is tried beside polls has an id.
    my $streams = sub {
        scalar grep { ($_->{prefer} // '') !~ /wait=/ && !defined $_->{last_event_id} } $proxy->requests;
    };
    my $before = $streams->();
    $tabs->open(site => $proxy);
    each_has_way_ok($tabs, 'poll mute', 'a later tab is told, too');
    is $streams->(), $before, 'it asks for no stream: what works is remembered' if !@page || $page[1] =~ /locks/;
    $proxy->become('pass');

    # It is tried when a poll ends.
    wait_until $DEADLINE, sub {
        $tabs->publish(1);
        return !grep { $_->evaluate('hub.transport') ne 'stream' } $tabs->tabs;
    };
    each_has_way_ok($tabs, 'stream ', 'a stream is used again');
    $tabs->each_receives_ok(20, 'each tab has each event once, in order');
    my $errors = sub { $_[0]->evaluate('`${events.filter(name => /error/.test(name))}`') };
    is $errors->($_), '', "tab $_->{name} is told of no error" for $tabs->tabs;
    $tabs->close_tabs;
    return;
}

# Bytes come all the time, but the newest event when the next ones have filled the buffer.
sub buffered {
    my $browser = shift;
    my $tabs    = Testing::Tabs->start($browser);
    my $proxy   = Testing::Middlebox->start('pass', $tabs->server->port, path => '/numbers');
    $tabs->open(site => $proxy);
    my ($tab) = $tabs->tabs;
    $tab->wait_for('performance.now() > 2000', 'the stream has lasted for a second');
    $tabs->each_receives_ok(1, 'it has an event then');
    $proxy->become('batch', bytes => 1_000, head => 1);
    $tabs->publish(60);
    each_has_way_ok($tabs, 'poll mute', 'it polls');
    $tabs->each_has_all_ok('each tab has each event once, in order');
    $tabs->close_tabs;
    return;
}

sub refused {
    my ($browser, @page) = @_;
    my $tabs  = Testing::Tabs->start($browser, page => {@page});
    my $proxy = Testing::Middlebox->start('refuse', $tabs->server->port, path => '/numbers');
    $tabs->open(site => $proxy, waits => 1) for 1, 2;
    each_has_way_ok($tabs, 'poll refused', 'it polls');
    $tabs->each_receives_ok(20, 'each tab has each event once, in order');
    $tabs->close_tabs;
    return;
}

for my $name (Testing::Browser->names) {
    my $browser = Testing::Browser->start($name);
    for my $way (Testing::Tabs->ways) {
        my ($how, @page) = @$way;
        my $url = @page ? '/kept' : '/single';
        subtest "$name, $how, behind a proxy that holds streams back" => sub { held_back($browser, $url, @page) };
    }
    subtest "$name, behind a proxy that passes on full buffers" => sub { buffered($browser) };
    subtest "$name, the classic script under a policy, behind a proxy that refuses streams" =>
        sub { refused($browser, classic => 1, csp => 1) };
}

done_testing;
