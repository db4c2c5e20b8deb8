# Streams of Mojolicious on its own server have the content coding that their head names.

use lib 't/lib';
use Testing            qw(native);
use Testing::Developer qw(has_command needs_module);
use Testing::CodedClient;
use Testing::MojoServer;
use EventSource::XS::Request;

needs_module('Mojolicious');

my $BEST    = EventSource::XS::Request->coding('zstd, gzip');
my @CODINGS = ('gzip', $BEST eq 'zstd' && has_command('curl') ? 'zstd' : ());

my $server = Testing::MojoServer->start('daemon', 't/compression/mojolicious.pl');

sub stream {
    my ($path, $coding) = @_;
    my $client = Testing::CodedClient->get($server->port, $path, coding => $coding);
    ok $client->read_head, "$path: a head";
    return $client;
}

for my $coding (@CODINGS) {
    my $client = stream('/hub', $coding);
    is join('; ', $client->header('Content-Encoding')), $coding,           'the head names the coding, once';
    is $client->header('Vary'),                         'Accept-Encoding', 'and what it depends on';
    ok $client->read_until(qr/^id: /m), 'the position can be decoded at once';
    for my $number (1 .. 3) {
        $server->ask('/publish', text => "event $number");
        ok $client->read_until(qr/^data: event $number\n/m), "so can event $number";
    }
    $client->leave;
    $client = stream('/ends', $coding);
    ok $client->read_all, 'a stream ends';
    is $client->body, "data: one\r\n\r\n", 'with what was pushed';
    ok $client->is_whole, 'and a correct end of the coding';
}
my $client = stream('/own', 'gzip');
is join('; ', $client->header('Content-Encoding')), 'identity', 'a coding of the application stays';
ok $client->read_until(qr/^data: one\r\n/m), 'and nothing else codes the stream';

done_testing;
