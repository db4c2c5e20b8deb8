# A real browser's EventSource comes back again and again while the hub process is away. After a 503 with Retry-After it never
# would.

use lib 't/lib';
use Testing           qw(native);
use Test::EventSource ();
use Testing::Browser;
use Testing::Server;

Testing::Browser->require_or_skip_all;
EventSource::XS::Test::PrivateHubs->begin;
my $browser = Testing::Browser->start;
my $server  = Testing::Server->start('Twiggy', 't/browser/away.psgi');
$browser->open($server->url('/'));
$browser->wait_for('sources[0].readyState === EventSource.CLOSED', 'after a 503 the browser closes its EventSource');
my $requests = 'fetch("/requests").then(response => response.json())';
$browser->wait_for("$requests.then(count => count['/stream'] > 2)",
    'after streams that end with a retry it comes back');
is $browser->evaluate($requests)->{'/status'}, 1, 'after the 503 it has not come back';

done_testing;
