# The stock page of EventSource::Cookbook in a real browser, on Starman with four workers: it shows the state at once, then
# changes; it survives a killed worker, and a hub process that ends.

use lib 't/lib';
use Testing;
use Testing::Browser;
use Testing::Recipe;
use Testing::SourceTree qw(slurp);

my $stock   = Testing::Recipe->start('stock');
my $browser = Testing::Browser->start;
my $set     = sub { return $stock->post('/set', @_) };
my $shows   = sub { my ($text, $name) = @_; return $browser->wait_for("shown.textContent === '$text'", $name) };

$browser->open($stock->url('/'));
$shows->('', 'an empty stock is complete');
is $set->(item => 'bolt', left => $_), 204, "bolt: $_" for 1 .. 3;
is $set->(item => 'nut',  left => 7),  204, 'nut: 7';
$shows->('bolt: 3\nnut: 7', 'the page shows each change');
$browser->open($stock->url('/'));
$shows->('bolt: 3\nnut: 7', 'a page that is loaded later shows the same');
is $set->(item => 'nut'), 204, 'nut is sold no longer';
$shows->('bolt: 3', 'the page shows it no longer');
is $set->(item => 'bolt', left => 2), 204, 'bolt: 2';
$shows->('bolt: 2', 'the page shows it');
my ($command) = slurp('perl/EventSource/Cookbook.pod') =~ /C<eventsource (publish --hub stock [^>]+)>/;
my @arguments = (split(' ', $command), '--socket', $stock->socket);
is system("$^X -Mblib bin/eventsource @arguments >/dev/null"), 0, "a job of cron: $command";
$shows->('bolt: 3', 'the page shows what it has published');
is $set->(item => '<', left => 1), 400, 'what is no word is refused';

subtest 'a worker is killed' => sub {
    $stock->kill_worker_ok;
    is $set->(item => 'bolt', left => 4), 204, 'bolt: 4';
    $shows->('bolt: 4', 'the page shows it');
};

subtest 'the hub process ends, and with it the state' => sub {
    $browser->evaluate('window.isOld = true');
    $stock->kill_hub_ok;
    $shows->('', 'the page receives a gap and the state of another process: nothing');
    is $set->(item => 'screw', left => 5), 204, 'screw: 5';
    $shows->('screw: 5', 'the page shows what is now');
    ok $browser->evaluate('window.isOld'), 'it was not loaded again';
};

$browser->open('about:blank');
done_testing;
