# A browser keeps so many cookies of a site: the tickets of many paths leave those of the application alone. Firefox knows no
# priorities of cookies (EventSource::Hub says what to do).

use lib 't/lib';
use Testing qw(Browser Server=Twiggy);

my $STREAMS = 200;    # Chromium keeps 180 cookies of a site, and removes 30 when there are more

my $server  = Testing::Server->start('Twiggy', 't/browser/ticket_cookies.psgi');
my $browser = Testing::Browser->start;
$browser->open($server->url('/'));
my $cookies = $browser->evaluate(<<"JS");
    (async () => {
        for (let number = 1; number <= $STREAMS; number++) {
            const leaves = new AbortController();
            await fetch('/events/' + number, {signal: leaves.signal});
            leaves.abort();
        }
        return (await fetch('/cookies')).text();
    })()
JS
is $cookies, 'session', "the session stays beside tickets of $STREAMS paths";

done_testing;
