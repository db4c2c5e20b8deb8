# The element of EventSource::Cookbook with which htmx 4 reads a stream by its own extension: it comes back where the extension
# does not, loads the page again after a gap, leads to the login when it is refused with 401, and stops at the end.

use lib 't/lib';
use Testing;
use Testing::Browser;
use Testing::CuttableProxy;
use Testing::Deadline  qw(wait_until);
use Testing::Developer qw(needs);
use Testing::Node      qw(packages_missing);
use Testing::Server;
use Time::HiRes qw(sleep);

Testing::Browser->require_or_skip_all;
needs(packages_missing('examples/cookbook'));

my $server  = Testing::Server->start('Twiggy', 'xt/examples/htmx.psgi', workers => 1);
my $proxy   = Testing::CuttableProxy->start($server->port);
my $browser = Testing::Browser->start;
my $streams = sub { return $server->ask('/streams') };

$server->ask('/busy');
my $tab = $browser->new_tab($proxy->url('/'));
ok wait_until(sub { $streams->() == 1 }), 'a first request that is refused is repeated';
$server->ask('/set?text=1');
my $shows = sub { return $tab->wait_for("document.getElementById('shown')?.textContent === '$_[0]'", $_[1]) };
$shows->(1, 'an event is shown');

$tab->evaluate('window.isOld = true');
$proxy->cut;
$server->ask('/set?text=2');
$shows->(2, 'the stream comes back');
ok $tab->evaluate('window.isOld'), 'without a new page';

$proxy->hold;
$server->ask("/set?text=$_") for 3 .. 9;
$proxy->release;
$tab->wait_for('!window.isOld', 'after a gap the page is loaded again');
ok wait_until(sub { $streams->() == 1 }), 'and has its stream';

$server->ask('/logout');
$tab->wait_for('location.pathname === "/login"', 'after a logout the page leads to the login');
$server->ask('/allow');
my $again = $browser->new_tab($proxy->url('/'));

# The old page may have asked once more while it went into the back/forward cache, so the number of streams says nothing.
my $reads = sub {
    $server->ask('/set?text=again');
    return $again->evaluate(q{document.getElementById('shown')?.textContent === 'again'});
};
ok wait_until($reads), 'somebody has logged in again';
my $before = $server->ask('/requests');
$server->ask('/logout?finish=1');
$again->wait_for('location.pathname === "/login"', 'a logout with finish leads to the login, too');
is $server->ask('/requests'), $before, 'at once';
$server->ask('/logout');
$browser->new_tab($proxy->url('/'))
    ->wait_for('location.pathname === "/login"', 'and so does one whose first request is refused');

my $requests = 1 + $server->ask('/requests');
my $job      = $browser->new_tab($server->url('/a/job'));
ok wait_until(sub { $server->ask('/requests') == $requests }), 'another page has a stream';
$server->ask('/finish');
sleep 3;
is $server->ask('/requests'), $requests, 'and asks for it no more when it has finished';

done_testing;
