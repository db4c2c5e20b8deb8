# The other way: what is posted to a node is an item of the service, and comes back as an event. The application is the example.

use lib 't/lib';
use Testing               qw(named_hubs Prosody);
use HTTP::Request::Common qw(POST);
use JSON::PP              ();
use LWP::UserAgent;
use Testing::Server;
use Testing::XMPPBridge;

require Testing::XMPPClient;
Testing::XMPPClient->import(qw(text));

# The account of the bridge may publish.
my $prosody = Testing::Prosody->start(publishers => ['bridge']);
my $bridge  = Testing::XMPPBridge->new({$prosody->as_client, prefix => 'xmpp/'}, 'news', 'more/*')->start('--publish');
my %env     = (XMPP_SOCKET => $bridge->socket, EDITOR_SECRET => 'secret');
my $server  = Testing::Server->start('Starman', 'examples/xmpp/app.psgi', workers => 2, env => \%env);
my $agent   = LWP::UserAgent->new(timeout => $DEADLINE);
my $alice   = Testing::XMPPClient->login($prosody, 'alice');

sub post {
    my ($node, $data, %header) = @_;
    %header = ('Content-Type' => 'text/plain', 'X-Editor-Secret' => 'secret', %header);
    utf8::encode($data);
    return $agent->request(POST $server->url("/eventsource/$node"), %header, Content => $data);
}

subtest 'a text, and JSON' => sub {
    my $response = post('news', "h\x{e9}llo <&> \n two");
    is $response->code, 200, 'a text is taken' or diag $response->content;
    my $id = JSON::PP::decode_json($response->content)->{id};
    like $id, qr/\A\S{22}\z/, 'it has an id';
    is_deeply $bridge->data('xmpp/news', 1), ["h\x{e9}llo <&> \n two"], 'it comes back as an event';
    is $alice->retract('news', $id), 'result', 'the service has the item under that id';

    $response = post('news', '{"json": {"a": 1}, "id": "mine"}', 'Content-Type' => 'application/json');
    is_deeply JSON::PP::decode_json($response->content), {id => 'mine'}, 'JSON is taken, with an id';
    is $bridge->data('xmpp/news', 3)->[2], '{"a": 1}', 'and comes back as it was given';
    post('more/new', 'created');
    is_deeply $bridge->data('xmpp/more/new', 1), ['created'], 'so does the first item of a node';
};

subtest 'what is refused' => sub {
    is post('news', 'x', 'X-Editor-Secret' => 'wrong')->code, 403, 'another client';
    is post('news', "a\x{1}b")->code,                         400, 'a character that XML has not';
    is post('news', '{"data": "x", "event": "y"}', 'Content-Type' => 'application/json')->code, 400, 'a type';
    is post('news', "\xC3(", 'Content-Type' => 'text/plain; charset=latin1')->code,             415, 'another encoding';
};

subtest 'the bridge and Prosody are away' => sub {
    my $before = @{$bridge->events_now('xmpp/news')};
    $bridge->kill;
    is post('news', "away $_")->code, 200, "item $_ is taken" for 1 .. 3;
    $prosody->restart('KILL');
    is post('news', "away $_")->code, 200, "item $_ is taken" for 4 .. 5;
    $bridge->start('--publish');
    is_deeply [@{$bridge->data('xmpp/news', $before + 5)}[$before .. $before + 4]], [map { "away $_" } 1 .. 5],
        'they are published at their return, in order';
    $bridge->kill;
    $bridge->start('--publish');
    post('news', 'last');
    is_deeply [@{$bridge->data('xmpp/news', $before + 6)}[$before + 4, $before + 5]], ['away 5', 'last'], 'and once';
};

subtest 'a node to which the bridge may not publish' => sub {
    $alice = Testing::XMPPClient->login($prosody, 'alice');
    $alice->create('more/closed', publish_model => 'publishers');
    $alice->forbid('more/closed', 'bridge@example.test');
    is post('more/closed', 'x')->code, 200, 'the application does not know';
    ok wait_until(
        $DEADLINE, sub { $bridge->log =~ m{of the node more/closed is not published to pubsub.example.test: \S+} }
        ),
        'the bridge says so'
        or diag $bridge->log;
    my $count = @{$bridge->events_now('xmpp/news')} + 1;
    post('news', 'after');
    is $bridge->data('xmpp/news', $count)->[-1], 'after', 'and continues';
};

subtest 'a bridge that is not to publish' => sub {
    $bridge->kill;
    $bridge->start;
    my $count = @{$bridge->events_now('xmpp/news')} + 1;
    is post('news', 'waits')->code,                     200,      'an item waits';
    is $alice->publish('news', 'other', text('other')), 'result', 'another client publishes';
    is $bridge->data('xmpp/news', $count)->[-1],        'other',  'which is an event';
    $bridge->kill;
    $bridge->start('--publish');
    is $bridge->data('xmpp/news', $count + 1)->[-1], 'waits', 'it waits for one that is';
};

is $bridge->stop, 0, 'the bridge ends';
done_testing;
