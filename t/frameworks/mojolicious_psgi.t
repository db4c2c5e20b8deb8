# Streams in an application of Mojolicious under PSGI: with a login, native, with resume and on_close; by POST; their heads;
# mistakes.

use lib 't/lib';
use Testing;
use Testing::Developer  qw(needs_module);
use Testing::Frameworks qw(data_of get multiparts_ok posts_ok streams_on);
use Testing::Server;

needs_module('Mojolicious');

streams_on('mojolicious.pl', 'Starman', 'Twiggy');

for my $name (Testing::Server->tested('Starman', 'Twiggy', 'Feersum', 'uWSGI')) {
    subtest "POST, $name" => sub {
        my @args   = $name eq 'Feersum' ? ('--psgix-io', 0) : ();    # Mojolicious fetches all of the environment
        my $server = Testing::Server->start($name, 't/data/mojolicious.psgi', workers => 1, args => \@args);
        posts_ok($server);
        multiparts_ok($server);
    };
}

subtest 'heads and mistakes' => sub {
    my $server = Testing::Server->start('Starman', 't/data/mojolicious.psgi', workers => 1);
    for my $path ('/ends', '/component') {
        my $client = get($server, $path);
        ok $client->read_all && $client->complete, "$path: the response is complete";
        is_deeply [data_of($client)], ['one', 'two'], 'it has all events';
        is_deeply [$client->header('Content-Type')], ['text/event-stream; charset=UTF-8'],
            'its type is that of a stream';
        is_deeply [$client->header('Content-Length')], [], 'its length is open';
        is scalar($client->header('X-Hook')), 'ran', 'hooks have run';
    }
    my $client = get($server, '/ends');
    $client->read_head;
    like $client->header('Set-Cookie'), qr/\Amojolicious=/, 'the head has the cookie of the session';
    is $client->header('X-Action'), 'set', 'and the headers of the action';
    for my $path ('/no-hub', '/no-channel', '/no-handler', '/fails-after') {
        $client = get($server, $path);
        ok $client->read_all && $client->complete, "$path is answered in full";
        is $client->status, 500, 'with 500';
    }
    like $server->log, qr/events takes channels after the hub at [^\n]*mojolicious[.]psgi line/,
        'the log names the line of the application';
    $client = get($server, '/head', method => 'HEAD');
    $client->read_all;
    is $client->status, 405, 'a HEAD is 405';
};

done_testing;
