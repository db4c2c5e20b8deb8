# An application holds the connection of a stream on the server's writer beyond its handler. On a server that blocks, that
# writer writes to the next client from then on: the stream must have ended.

use lib 't/lib';
use Testing;
use Testing::Client;
use Testing::StreamServer qw(on_each_server path);

on_each_server [qw(HTTP::Server::PSGI Starman Starlet uWSGI)] => sub {
    my $server = shift;
    my $client = Testing::Client->get($server->port, path('/held', name => 'held', native => 0));
    ok $client->read_all && $client->complete, 'the response is complete when the handler returns';
    like $client->text, qr/^event: held\r\n\r\n\z/m, 'the client has what the handler has pushed';
    is $server->push(name => 'held'), 0, 'a push during another request reaches no response';
    $server->ended_ok(held => 'application', 'the application is told of the end');
};

done_testing;
