# In a real browser: a page of a listed origin subscribes to a node, with its cookie, and publishes; other pages do
# neither.

use lib 't/lib';
use Testing qw(Browser);
use Testing::Server;

# The page comes from one server, the nodes from another: two ports are two origins. The page's
# server by another name is a third.
my $pages   = Testing::Server->start('Twiggy', 't/pubsub/pubsub.psgi');
my $server  = Testing::Server->start('Twiggy', 't/pubsub/pubsub.psgi', env => {PUBSUB_ORIGIN => $pages->url('')});
my $browser = Testing::Browser->start;

# Opens a stream in the page.
sub subscribe {
    my ($node, $with_credentials) = @_;
    my $url = $server->url("/eventsource/$node");
    $browser->evaluate(<<"JS");
        window.heard = []; window.state = 'connecting';
        window.source = new EventSource('$url', {withCredentials: $with_credentials});
        source.onmessage = event => heard.push(event.data);
        source.onopen    = () => { state = 'open' };
        source.onerror   = () => { state = 'error' };
        1
JS
    return;
}

# Posts from the page. Returns the status and text that the page sees, or none.
sub post {
    my ($node, $type, $body) = @_;
    my $url = $server->url("/eventsource/$node");
    return $browser->evaluate(<<"JS");
        fetch('$url', {method: 'POST', credentials: 'include', headers: {'Content-Type': '$type'}, body: '$body'})
            .then(async answer => answer.status + ' ' + (await answer.text()).trim(), () => 'none')
JS
}

subtest 'a page of a listed origin' => sub {
    $browser->open($pages->url('/'));
    $browser->evaluate('document.cookie = "key=open sesame"; 1');
    subscribe('secrets', 'true');
    $browser->wait_for('state === "open"', 'the page opens a stream that needs its cookie');
    like post('secrets', 'application/json', '{"data":"json"}'), qr/\A200 \{"id":"/,
        'the page publishes JSON, after a preflight request';
    like post('secrets', 'text/plain', 'text'), qr/\A200 \{"id":"/,
        'the page publishes text, without a preflight request';
    is post('secrets', 'application/json', '{"musing":1}'), "400 There is no field 'musing'",
        'the page reads the reason of a refusal';
    $browser->wait_for('heard.length === 2', 'the page receives both events');
    is_deeply $browser->evaluate('heard'), ['json', 'text'], 'the events of the page have their data';
    $browser->evaluate('source.close()');

    subscribe('secrets', 'false');
    $browser->wait_for('state === "error" && source.readyState === 2',
        'without its cookie the stream is refused, for good');
};

subtest 'a page of an origin that is not listed' => sub {
    $browser->open($pages->url('/') =~ s/127\.0\.0\.1/localhost/r);
    subscribe('news', 'false');
    $browser->wait_for('state === "error" && source.readyState === 2', 'the page has no stream');
    is post('news', 'text/plain', 'evil'), 'none', 'the page cannot read the response to its POST';
    is_deeply $browser->evaluate('heard'), [], 'the page receives no event';
};

done_testing;
