# The stock page of EventSource::Cookbook in a real browser, on Starman with four workers: it shows the state at once, then
# changes; it survives a killed worker, and a hub process that ends.

use lib qw(t/lib examples/live/lib);
use Testing;
use EventSource::Hub;
use File::Temp ();
use Live::Processes;
use Test::EventSource;
use Testing::Browser;
use Testing::Deadline qw(wait_until);
use Testing::Process  qw(is_running);
use Testing::Server;

Testing::Browser->require_or_skip_all;
Testing::Server->require_or_skip_all('Starman');
my $folder = File::Temp->newdir;
my $socket = "$folder/stock.sock";
my $hub    = eval { EventSource::Hub->new(name => 'stock', socket => $socket) };
plan skip_all => 'eventsource-hub is not built here' if !$hub || !eval { $hub->epoch };

my $server = Testing::Server->start(
    'Starman', 'examples/cookbook/stock.psgi',
    workers => 4,
    args    => [qw(--max-requests 1000000)],
    env     => {STOCK_SOCKET => $socket}
);
my $es  = Test::EventSource->new(url => $server->url(''), timeout => 10);
my $set = sub { my %given = @_; return $es->post('/set', form => [%given])->code };

my $browser = Testing::Browser->start;
my $shows   = sub { my ($text, $name) = @_; return $browser->wait_for("shown.textContent === '$text'", $name) };

$browser->open($server->url('/'));
$shows->('', 'an empty stock is complete');
is $set->(item => 'bolt', left => $_), 204, "bolt: $_" for 1 .. 3;
is $set->(item => 'nut',  left => 7),  204, 'nut: 7';
$shows->('bolt: 3\nnut: 7', 'the page shows each change');
$browser->open($server->url('/'));
$shows->('bolt: 3\nnut: 7', 'a page that is loaded later shows the same');
is $set->(item => 'nut'), 204, 'nut is sold no longer';
$shows->('bolt: 3', 'the page shows it no longer');
is $set->(item => '<', left => 1), 400, 'what is no word is refused';

subtest 'a worker is killed' => sub {
    my ($worker) = Live::Processes::workers($server->pid);
    ok kill(KILL => $worker),                        'a worker is killed';
    ok wait_until(10, sub { !is_running($worker) }), 'it accepts no connection any more';
    is $set->(item => 'bolt', left => 4), 204, 'bolt: 4';
    $shows->('bolt: 4', 'the page shows it');
};

subtest 'the hub process ends, and with it the state' => sub {
    $browser->evaluate('window.isOld = true');
    ok kill(KILL => $hub->stats->{process}{pid}), 'the hub process is killed';
    $shows->('', 'the page receives a gap and the state of another process: nothing');
    is $set->(item => 'screw', left => 5), 204, 'screw: 5';
    $shows->('screw: 5', 'the page shows what is now');
    ok $browser->evaluate('window.isOld'), 'it was not loaded again';
};

$browser->open('about:blank');
Live::Processes::end_hub($socket);

done_testing;
