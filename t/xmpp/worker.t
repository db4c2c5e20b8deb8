# A bridge in a worker with an event loop: code for the data, other types of events.

use lib 't/lib';
use Testing  qw(Prosody Server=Twiggy);
use JSON::PP ();
use Testing::Client;
use Testing::CommandLine;

require Testing::XMPPClient;
Testing::XMPPClient->import(qw(text));

my $prosody = Testing::Prosody->start;
my $alice   = Testing::XMPPClient->login($prosody, 'alice');
$alice->publish('news', 0, text('first'));
my $shell   = Testing::CommandLine->new;
my %setting = ($prosody->as_component, nodes => ['news'], socket => $shell->folder . '/test.sock');
my $server =
    Testing::Server->start('Twiggy', 't/xmpp/worker.psgi',
    env => {BRIDGE_SETTINGS => JSON::PP->new->encode(\%setting)});

ok wait_until($DEADLINE, sub { $server->ask('/') eq 'connected' }), 'the bridge of a worker connects';
my $client = Testing::Client->get($server->port, '/events');
ok $client->read_until(qr/^data: news 0 first\r?$/m), 'and reads its node';
$alice->publish('news', 'private', text('secret'));
$alice->publish('news', 'broken',  text('broken'));
$alice->publish('news', 'text',    text('a text'));
$alice->publish('news', 1,         '<x xmlns="urn:x">1</x>');
$alice->retract('news', 'text');
$alice->purge('news');
$alice->publish('news', 2, text('last'));
ok $client->read_until(qr/^data: news 2 last\r?$/m), 'it publishes what comes' or diag $server->log;
my @events = map { s{\r?\n}{|}gr =~ s{\|id: [^|]*\|?\z}{}r } grep { /^data: \S/m } split /\r?\n\r?\n/, $client->text;
is_deeply \@events,
    [
    'event: item|data: news 0 first',
    'data: a text',
    q{event: item|data: news 1 <x xmlns='urn:x'>1</x>},
    'event: gone|data: text',
    'event: item|data: news 2 last'
    ],
    'data and fields are those of the code, nothing is published for undef, retractions have another type, purges none';
like $server->log, qr/item broken of the node news is not published: this item is broken/,
    'an item for which the code dies is reported';

done_testing;
