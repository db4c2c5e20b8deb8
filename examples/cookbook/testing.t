# The test of testing.psgi: in process, or with SERVER=Starman on that server.
use strict;
use warnings;

use File::Basename qw(dirname);
use Test::EventSource;
use Test::More;

my @server = $ENV{SERVER} ? (server => $ENV{SERVER}, workers => 1) : ();
my $es     = Test::EventSource->new(app => dirname(__FILE__) . '/testing.psgi', @server);
my $client = $es->get('/events');

$es->post('/add') for 1 .. 2;
like_count($client, $_) for 1 .. 2;

$client->close;
$es->post('/add');
$client->reconnect;
like_count($client, 3);
is $es->get('/add')->status, 405, 'GET does not count';

sub like_count {
    my ($stream, $value) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return $stream->like_event({event => 'count', json => {value => $value}}, "the client receives the count $value");
}

done_testing;
