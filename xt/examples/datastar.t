# A page of Datastar 1.0 in a real browser over a named hub with four workers: what EventSource::Datastar makes is what the page
# does. A reconnection brings what was missed, and a gap the page's own remedy.

use lib 't/lib';
use Testing;
use File::Temp ();
use Test::EventSource;
use Testing::Browser;
use Testing::Clients::Install;
use Testing::CuttableProxy;
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

done_testing;
