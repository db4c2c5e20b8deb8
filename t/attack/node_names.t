# Attack: control characters in the name of a node. Most servers end the path at a NUL, so that another node than the one that
# was asked for would be followed or published to; others hand it on. Every one of them has to answer 400.

use lib 't/lib';
use Testing qw(native);
use Testing::Client;
use JSON::PP ();
use Testing::Server;

my @KEY = ('X-Key' => 'open sesame');

my @REFUSED = (
    '/node%00', '/%00',  '/node%00x',  '/%00node', '/a%00%00', '/a%0Ab',   '/a%0d', '/a%09b',
    '/%01',     '/a%1F', '/a%1b%5B2J', '/a%7Fb',   '/a%C2%80', '/a%C2%85', '/a%C2%9Fb',
);
my @TAKEN = ('/node', '/node?%00', '/node%2500', '/a%20b', '/a%C2%A0b');

# Returns the response to a request; of a stream its head.
sub response_to {
    my ($server, $method, $path) = @_;
    my $is_post = $method eq 'POST';
    my $client  = Testing::Client->get(
        $server->port, "/eventsource$path",
        method  => $method,
        headers => [Connection => 'close', @KEY, $is_post ? ('Content-Length' => 4) : ()],
        $is_post ? (then => 'data') : (),
    );
    $client->read_head or diag "$method $path: no response";
    $client->read_all if ($client->status || 0) != 200 || $method ne 'GET';
    $client->leave;
    return $client;
}

for my $name (Testing::Server->names) {
    subtest $name => sub {
        my $server = Testing::Server->start($name, 't/pubsub/pubsub.psgi', workers => 1);
        for my $path (@REFUSED) {
            my %client = map { $_ => response_to($server, $_ => $path) } qw(GET HEAD POST);
            is $client{$_}->status, 400, "$_ $path: 400" for sort keys %client;
            is $client{$_}->body, "The name of the node has a control character in it\n",
                "$_ $path: the body is the reason"
                for qw(GET POST);
        }
        is JSON::PP::decode_json($server->ask('/stats'))->{published}, 0, 'no refused request publishes anything';
        for my $path (@TAKEN) {
            is response_to($server, $_ => $path)->status, 200, "$_ $path: 200" for qw(GET HEAD POST);
        }
    };
}

done_testing;
