# A page of Datastar 1.0 in a real browser over a named hub with four workers: what EventSource::Datastar makes is what the page
# does. A reconnection brings what was missed, and a gap the page's own remedy.

use lib 't/lib';
use Testing;
use File::Temp ();
use Test::EventSource;
use Testing::Browser;
use Testing::Clients::Install;
use Testing::CuttableProxy;
use Testing::Deadline  qw(wait_until);
use Testing::Developer qw(needs);
use Testing::Server;

Testing->need('named_hubs');
Testing::Browser->require_or_skip_all;
Testing::Server->require_or_skip_all('Starman');
needs(Testing::Clients::Install->missing('datastar'));

my $folder  = File::Temp->newdir;
my %env     = (DATASTAR => Testing::Clients::Install->path('datastar'), HUB_SOCKET => "$folder/hub.sock");
my $server  = Testing::Server->start('Starman', 'xt/examples/datastar.psgi', workers => 4, env => \%env);
my $es      = Test::EventSource->new(url => $server->url(''));
my $browser = Testing::Browser->start;
my $proxy   = Testing::CuttableProxy->start($server->port);
my $url     = $proxy->url('/');
my @tabs    = map { $browser->new_tab($url) } 1, 2;

sub click { return $tabs[0]->evaluate("document.getElementById('$_[0]').click()") }

# Each page shows the element, the signal and the list.
sub all_show {
    my ($shown, $name) = @_;
    my $page = q{['#shown', 'output', '#list'].map(at => document.querySelector(at).textContent.trim()).join(' ')};
    $_->wait_for("$page === '$shown'", $name) for @tabs;
    return;
}

all_show(' 0 ', 'both pages are there');
$_->wait_for("fetch('/streams').then(answer => answer.text()).then(count => count === '2')", 'and have their streams')
    for $tabs[0];
click('add');
all_show('1 1 1', 'elements, a signal and an entry of a list come to both pages');
click('add');
all_show('2 2 12', 'and come again');
click('remove');
all_show('2 2 ', 'elements are removed');
$_->wait_for('document.title === "empty"', 'a script has run') for @tabs;
is $_->evaluate("document.querySelectorAll('script').length"), 1, 'and is gone' for @tabs;

push @tabs, $browser->new_tab($url);
all_show('2 2 ', 'a page that is opened later begins with the state');

$_->evaluate('window.isOld = true') for @tabs;
$server->restart;
click('add');
all_show('3 3 3', 'streams come back after a restart of the server, by their last event IDs');
ok $_->evaluate('window.isOld'), 'without a new page' for @tabs;

$proxy->hold;
is $es->post('/add', json => {count => $_})->code, 204, "the page misses $_" for 3 .. 6;
$proxy->release;
all_show('7 7 ', 'after a gap the page is loaded again, and begins with the state');
ok !$_->evaluate('window.isOld'), 'it is a new page' for @tabs;

my $rows = sub {
    my ($tab, $rows, $name) = @_;
    return $tab->wait_for("document.getElementById('rows')?.textContent === '$rows'", $name);
};
$server->ask('/rows?count=2&mark=');
$rows->($_, '12', 'a list of two rows is there') for @tabs;
$server->ask('/rows?count=2&mark=!');
push @tabs, $browser->new_tab($url);
$rows->($_, '1!2!', 'both have changed, also in a page that is opened later') for @tabs;

my $finished = $browser->new_tab($url);
$rows->($finished, '1!2!', 'another page is there');
$server->ask('/logout?finish=1');
my $asked = q{performance.getEntriesByType('resource').filter(({name}) => name.includes('/events')).length};
$finished->wait_for("$asked === 2", 'after finish the page asks once more');
is $finished->evaluate(
    q{fetch('/events', {headers: {'Last-Event-ID': 'eventsource-finished'}}).then(({status}) => status)}), 204,
    'which is answered with 204';
$_->evaluate('location.reload()') for @tabs;
$rows->($_, '1!2!', 'the others are loaded again') for @tabs;
ok wait_until(sub { $server->ask('/streams') == @tabs }), 'and have their streams';
is $finished->evaluate("location.pathname + $asked"), '/3', 'meanwhile the finished page has asked no more, and stays';
$finished->close;
$server->ask('/logout');
$_->wait_for('location.pathname === "/login"', 'after a logout the page goes to the login') for @tabs;

done_testing;
