# A stream inside an action of Catalyst is native where the server allows that without Catalyst, and otherwise on the
# server's writer.

use lib 't/lib';
use Testing;
use Testing::Client;
use Testing::Developer qw(needs_module);
use Testing::Server;

needs_module('Catalyst');

my $PSGI = 't/data/catalyst.psgi';
my $TEXT = "data: caf\xc3\xa9 \xe2\x98\xba\r\n\r\n";

# The servers, and whether their handlers return while their streams continue.
my %IS_LOOP = ('HTTP::Server::PSGI' => 0, 'Starman' => 0, 'Starlet' => 0, 'Twiggy' => 1, 'Feersum' => 1, 'uWSGI' => 0);

sub get {
    my ($server, $path, @option) = @_;
    return Testing::Client->get($server->port, $path, @option);
}

sub is_whole {
    my ($server, $path, $foundation, $http) = @_;
    my $client = get($server, $path, http => $http);
    ok $client->read_all && $client->complete, "HTTP/$http: the response is complete";
    is $client->body,                   "data: $foundation\r\n\r\n$TEXT",   "HTTP/$http: the events are encoded once";
    is $client->header('Content-Type'), 'text/event-stream; charset=UTF-8', "HTTP/$http: the head is that of a stream";
    return;
}

# A stream that the application holds while the server answers other requests.
sub is_held {
    my ($server, $path, $foundation) = @_;
    my $client = get($server, $path);
    ok $client->read_until(qr/data: $foundation\r\n\r\n/), 'the handler has pushed';
    is $server->ask('/tell/later'), 'told 1 of 1', 'a later request pushes to the stream';
    ok $client->read_until(qr/data: later\r\n\r\n/), 'the client receives that event';
    $client->leave;
    ok wait_until(sub { $server->ask('/tell/end') =~ /\Atold 0 of/ }), 'a client that leaves ends the stream';
    return;
}

for my $name (Testing::Server->tested(sort keys %IS_LOOP)) {
    subtest $name => sub {
        my $server = Testing::Server->start($name, $PSGI, workers => 1);
        is_whole($server, '/stream/one',    'native', $_) for '1.0', '1.1';
        is_whole($server, '/stream/writer', 'writer', $_) for '1.0', '1.1';
        subtest 'a held native stream' => sub { is_held($server, '/stream/keep', 'native') };
        subtest 'a held stream on the server\'s writer' => sub { is_held($server, '/stream/kept', 'writer') }
            if $IS_LOOP{$name};
        unlike $server->log, qr/\[error\]|uninitialized|Can't/, 'the server reports no error';
    };
}

subtest 'a plugin that wraps the write of Catalyst\'s writer' => sub {
    my $server = Testing::Server->start('HTTP::Server::PSGI', $PSGI, env => {CATALYST_WRAPPED => 1});
    is_whole($server, '/stream/one', 'writer', '1.1');
};

done_testing;
