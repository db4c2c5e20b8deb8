# A page of another origin follows a node in a real browser, with its cookie, and publishes to it; of any other, it does not.

use strict;
use warnings;

use lib 't/lib';
use Testing::Browser;
use Testing::Server;
use Test::More;

Testing::Browser->require_or_skip_all;
Testing::Server->require_or_skip_all('Twiggy');

# The page comes from one server, the nodes from another: two ports are two origins. By another name the page's is a third.
my $pages   = Testing::Server->start('Twiggy', 't/pubsub/pubsub.psgi');
my $server  = Testing::Server->start('Twiggy', 't/pubsub/pubsub.psgi', env => {PUBSUB_ORIGIN => $pages->url('')});
my $browser = Testing::Browser->start;

# Opens a stream in the page.
sub follow {
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

# Posts from the page; the status that it sees, or that it sees none.
sub post {
    my ($node, $type, $body) = @_;
    my $url = $server->url("/eventsource/$node");
    return $browser->evaluate(<<"JS");
        fetch('$url', {method: 'POST', credentials: 'include', headers: {'Content-Type': '$type'}, body: '$body'})
            .then(async answer => answer.status + ' ' + (await answer.text()).trim(), () => 'none')
JS
}

subtest 'a listed origin' => sub {
    $browser->open($pages->url('/'));
    $browser->evaluate('document.cookie = "key=open sesame"; 1');
    follow('secrets', 'true');
    $browser->wait_for('state === "open"', 'opens a stream that needs its cookie');
    like post('secrets', 'application/json', '{"data":"json"}'), qr/\A200 \{"id":"/, 'publishes, after asking first';
    like post('secrets', 'text/plain',       'text'),            qr/\A200 \{"id":"/, 'publishes, without asking';
    is post('secrets', 'application/json', '{"musing":1}'), "400 There is no field 'musing'",
        'reads what it is answered';
    $browser->wait_for('heard.length === 2', 'and hears both');
    is_deeply $browser->evaluate('heard'), ['json', 'text'], 'as they were';
    $browser->evaluate('source.close()');

    follow('secrets', 'false');
    $browser->wait_for('state === "error" && source.readyState === 2',
        'without its cookie the stream is refused, for good');
};

subtest 'any other origin' => sub {
    $browser->open($pages->url('/') =~ s/127\.0\.0\.1/localhost/r);
    follow('news', 'false');
    $browser->wait_for('state === "error" && source.readyState === 2', 'gets no stream');
    is post('news', 'text/plain', 'evil'), 'none', 'reads nothing';
    is_deeply $browser->evaluate('heard'), [], 'and hears nothing';
};

done_testing;
