# Tabs of a real browser that need polls, and the bundle that reads streams was missing at first: they poll when it is there.
# And tabs that need none: a connection that dies is replaced by another stream.

use lib 't/lib';
use Testing;
use Testing::Middlebox;
use Testing::Tabs;

Testing::Tabs->require_or_skip_all($_) for Testing::Browser->names;

# Firefox keeps a module that has failed once.
sub missing_at_first {
    my $browser = shift;
    my $tabs    = Testing::Tabs->start($browser, page => {url => '/kept'});
    my $proxy   = Testing::Middlebox->start('hold', $tabs->server->port, path => '/kept');
    $tabs->set_missing(1);
    $tabs->open(site => $proxy, waits => 1);
    ok wait_until($DEADLINE, sub { $tabs->refusals }), 'a tab has no stream, and the bundle is refused';
    $tabs->set_missing(0);
    my ($tab) = $tabs->tabs;
    $tab->wait_for('events.includes("poll mute")', 'it polls when the bundle is there');
    $tabs->each_receives_ok(5, 'it has each event');
    $tabs->close_tabs;
    return;
}

# All that was sent on the connection of the stream since then is lost, and nobody is told.
sub dead_connection {
    my $browser = shift;
    my $tabs    = Testing::Tabs->start($browser, page => {url => '/kept', options => '{"keepalive":5}'});
    my $proxy   = Testing::Middlebox->start('pass', $tabs->server->port, path => '/kept');
    my ($tab)   = map { $tabs->open(site => $proxy) } 1, 2;
    $tab->wait_for('performance.now() > 3000', 'the stream has lasted for a second');
    $tabs->each_receives_ok(5, 'each tab has each event');
    $proxy->become('silence', seconds => 0.1);
    ok wait_until($DEADLINE, sub { $proxy->count('silenced') }), 'their connection dies';
    $proxy->become('pass');
    $tabs->each_receives_ok(5, 'each tab has each event once, in order');
    is $tab->evaluate('hub.transport'), 'stream', 'in another stream';
    is_deeply [grep { ($_->{prefer} // '') =~ /wait=/ } $proxy->requests], [], 'there was no poll';
    $tabs->close_tabs;
    return;
}

for my $name (Testing::Browser->names) {
    my $browser = Testing::Browser->start($name);
    subtest "$name, behind a proxy that holds streams back, and the bundle is missing at first" =>
        sub { missing_at_first($browser) };
    subtest "$name, a connection that dies" => sub { dead_connection($browser) };
}

done_testing;
