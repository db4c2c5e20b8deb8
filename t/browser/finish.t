# A real browser's EventSource stops for good when its stream finishes: at once if the page listens for the event, otherwise
# after one reconnect that is answered with 204.

use lib 't/lib';
use Testing qw(Browser);
use Testing::Server;

my $browser = Testing::Browser->start;

for my $name (qw(HTTP::Server::PSGI Twiggy)) {
    subtest $name => sub {
        my $server   = Testing::Server->start($name, 't/browser/finish.psgi');
        my $requests = 'fetch("/requests").then(response => response.json())';
        for my $case ([listens => ['one', 'two', 'finish done'], [200]], [silent => ['one', 'two'], [200, 204]]) {
            my ($page, $heard, $statuses) = @$case;
            $browser->open($server->url("/?$page"));
            $browser->wait_for('source.readyState === EventSource.CLOSED', "$page: the browser closes its EventSource");
            is_deeply $browser->evaluate('heard'),            $heard,    "$page: it has heard every event once";
            is_deeply $browser->evaluate($requests)->{$page}, $statuses, "$page: these are the responses";
        }
    };
}

done_testing;
