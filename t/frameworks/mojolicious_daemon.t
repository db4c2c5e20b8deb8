# Streams in an application of Mojolicious on its own server: with a login, native, with resume and on_close, under each event
# loop; by POST; what else the server does to connections; TLS; mistakes; prefork, whose workers share a named hub.

use lib 't/lib';
use Testing;
use Test::EventSource;
use Testing::Client;
use Testing::Developer  qw(has_module needs needs_module);
use Testing::Frameworks qw(application data_of get kinds_ok mistakes_ok multiparts_ok post posts_ok streams_ok);
use Testing::MojoServer;
use Testing::Process qw(descriptors_of);
use Testing::Server;

needs_module('Mojolicious');

my $UNUSUAL = 't/data/mojolicious.psgi';

sub descriptors { return descriptors_of($_[0]->stats->{pid}) }

for my $loop (qw(EV Poll)) {
    subtest "the contract, with Mojo::Reactor::$loop" => sub {
        needs(has_module("Mojo::Reactor::$loop") ? undef : "there is no Mojo::Reactor::$loop here");
        my $server = Testing::MojoServer->start(
            'daemon',
            application('mojolicious.pl'),
            env => {MOJO_REACTOR => "Mojo::Reactor::$loop"}
        );
        streams_ok($server);
        kinds_ok($server, 'native stream');
    };
}

my $server = Testing::MojoServer->start('daemon', $UNUSUAL);

subtest 'the head is that of Mojolicious' => sub {
    for my $path ('/ends', '/component', '/late') {
        my $client = get($server, $path);
        ok $client->read_all && $client->complete, "$path: the response is complete";
        is_deeply [data_of($client)], ['one', 'two'], 'it has all events';
        is $client->header('Transfer-Encoding'), 'chunked', 'HTTP/1.1: it is chunked';
        is $client->header('Connection'),        'close',   'and ends with the connection';
        is_deeply [$client->header('Content-Type')], ['text/event-stream; charset=UTF-8'],
            'its type is that of a stream';
        is $client->header('X-Hook'), 'ran', 'hooks have run';
        is $client->rest,             '',    'nothing follows';
    }
    my $client = get($server, '/ends', http => '1.0');
    ok $client->read_all, 'HTTP/1.0: the response ends';
    is_deeply [data_of($client)], ['one', 'two'], 'it has all events';
    is scalar($client->header('Transfer-Encoding')), undef, 'it is not chunked';
    like $client->header('Set-Cookie'), qr/\Amojolicious=/, 'it has the cookie of the session';
    is $client->header('X-Action'), 'set', 'and the headers of the action';
};

subtest 'connections that are kept alive' => sub {
    my $client = Testing::Client->get($server->port, '/plain');
    ok $client->read_all, 'an ordinary response comes first';
    $client->request('/held?name=kept', then => "GET /plain HTTP/1.1\r\nHost: x\r\n\r\n");
    ok $client->read_until(qr/^data: held/m), 'then a stream on the same connection';
    is $server->ask('/push?name=kept&data=later'), 1, 'an ordinary request pushes to it';
    ok $client->read_until(qr/^data: later/m), 'the client receives the event';
    unlike $client->body, qr/plain/, 'a request that the client has pipelined is dropped';
    $client->say("GET /plain HTTP/1.1\r\nHost: x\r\n\r\n");
    is $server->ask('/push?name=kept&data=last'), 1, 'so is one that it sends later';
    ok $client->read_until(qr/^data: last/m), 'the stream continues';
    unlike $client->body, qr/plain/, 'without another response';
    $client->leave;
    ok wait_until(sub { $server->ask('/why?name=kept') eq 'client' }), 'on_close has the reason client';
    my $pipelined =
        Testing::Client->get($server->port, '/plain', then => "GET /held?name=piped HTTP/1.1\r\nHost: x\r\n\r\n");
    $pipelined->read_all;
    like $pipelined->rest(0.5) // $pipelined->{raw}, qr/^data: held/m,
        'a stream may be pipelined behind an ordinary request';
    $pipelined->leave(reset => 1);
    ok wait_until(sub { $server->ask('/why?name=piped') eq 'client' }), 'a reset ends a stream too';
};

subtest 'connections are released' => sub {
    ok wait_until(sub { $server->stats->{open} == 0 }), 'no stream is open';
    my $before  = descriptors($server);
    my @clients = map { get($server, "/held?name=$_") } 1 .. 30;
    ok + (30 == grep { $_->read_until(qr/^data: held/m) } @clients), '30 streams are open';
    ok wait_until(sub { descriptors($server) - $before == 30 }),     'each costs one descriptor';
    $_->leave for @clients;
    ok wait_until(sub { descriptors($server) <= $before }), 'which is closed when the client leaves';
};

subtest 'POST' => sub {
    posts_ok($server);
    multiparts_ok($server);
    my $client = get $server, '/echo',
        method  => 'POST',
        headers => ['Content-Type' => 'application/json', 'Transfer-Encoding' => 'chunked'],
        then    => qq(6\r\n{"a":1\r\n1\r\n}\r\n0\r\n\r\n);
    ok $client->read_all, 'a chunked body is answered';
    is_deeply [data_of($client)], ['a=1'], 'it is decoded';
    my $limited = Testing::MojoServer->start('daemon', $UNUSUAL, env => {MOJO_MAX_MESSAGE_SIZE => 1000});
    is post($limited, '/echo', body => 'x' x 2000, type => 'text/plain')->status, 413, 'a body beyond the limit is 413';
};

subtest 'the behaviour of a client is never an error of the application' => sub {
    my $before  = length $server->log;
    my @upgrade = (
        Upgrade                 => 'websocket',
        'Sec-WebSocket-Version' => 13,
        'Sec-WebSocket-Key'     => 'dGhlIHNhbXBsZSBub25jZQ=='
    );
    for my $path ('/websocket', '/ends') {
        my $socket = Testing::Client->get($server->port, $path, headers => [Connection => 'Upgrade', @upgrade]);
        ok $socket->read_head, "$path: a WebSocket is answered";
        is $socket->status, 400, 'with 400';
    }
    for my $query ('name=leaves', 'name=kept&keeps=1') {
        my $client = get($server, "/waits?$query");
        ok wait_until(sub { $server->ask("/waiting?$query") eq 'yes' }), "$query: an action waits";
        $client->leave;
        ok wait_until(sub { $server->ask("/waiting?$query") eq 'left' }), 'its client leaves';
        is $server->ask("/respond?$query"), 'fine', 'then the action responds, and nothing happens';
    }
    unlike substr($server->log, $before), qr/\[error\](?! EventSource::XS: )/, 'the log has no error';
};

subtest 'mistakes' => sub {
    mistakes_ok($server, 'app.pl');
    my $client = get($server, '/ends', method => 'POST', headers => ['Content-Length' => 0]);
    $client->read_all;
    is $client->status, 404, 'a POST to a route for GET is 404, as in Mojolicious';
    $client = get($server, '/head', method => 'HEAD');
    $client->read_all;
    is $client->status, 405, 'a HEAD is 405';
    $client = get($server, '/dies');
    ok $client->read_all, 'the stream of a handler that dies ends';
    is_deeply [data_of($client)], ['before'], 'after the events that it has pushed';
    ok wait_until(sub { $server->log =~ /\[error\].*the handler died: on purpose/ }), 'the log has the exception';
    $client = get($server, '/fails-after');
    ok $client->read_all && $client->complete, 'an action that dies later does not disturb its stream';
    is $server->ask('/plain'), 'plain', 'the server answers the next request';
};
$server->stop;

subtest 'TLS' => sub {
    needs(Testing::Server->missing_tls);
    my $tls = Testing::MojoServer->start('daemon', application('mojolicious.pl'), tls => 1);
    streams_ok($tls);
    kinds_ok($tls, "on the server's writer: the connection is encrypted");
    $tls = Testing::MojoServer->start('daemon', $UNUSUAL, tls => 1);
    for my $path ('/ends', '/late') {
        my $client = get($tls, $path);
        ok $client->read_all && $client->complete, "$path: the response is complete";
        is_deeply [data_of($client)], ['one', 'two'], 'it has all events';
    }
    my $client = get($tls, '/must-be-native');
    $client->read_all;
    is $client->status, 500, 'native => 1 is answered with 500';
    like $tls->log, qr/the stream cannot be native: the connection is encrypted/, 'the log has the reason';
};

subtest 'the workers of prefork share a named hub' => sub {
    my $shared  = Test::EventSource->private_hub;
    my $prefork = Testing::MojoServer->start('prefork', 't/data/mojolicious_workers.pl', args => [qw(--workers 2)]);
    my $here    = get($prefork, '/events');
    ok $here->read_until(qr/^id: /m), 'a stream begins';
    my $worker = $here->header('X-Worker');
    kill STOP => $worker;    # the next connection is another worker's
    my $there = get($prefork, '/events');
    ok $there->read_until(qr/^id: /m), 'a second stream begins';
    isnt scalar($there->header('X-Worker')), $worker, 'in another worker';
    my $publisher = post($prefork, '/news', form => 'text=one')->body;
    kill CONT => $worker;
    isnt $publisher, $worker, 'that one publishes an event';
    ok $_->read_until(qr/^data: one of $publisher\n/m), 'a client receives it' for $here, $there;
};

done_testing;
