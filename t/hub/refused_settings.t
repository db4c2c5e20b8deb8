# Settings that the hub process refuses: the log names the hub and the line of the application, not one of the server.

use lib 't/lib';
use Testing;
use EventSource::Hub;
use Testing::Client;
use Testing::CommandLine;
use Testing::Server;

my $shell = Testing::CommandLine->new;
my %env   = (EVENTSOURCE_RUNTIME_DIR => $shell->folder);

local $ENV{EVENTSOURCE_RUNTIME_DIR} = $shell->folder;
my $other = EventSource::Hub->new(name => 'shop', gap_event => 'gap');    # decides as long as it is there
$other->publish(news => 'one');
my $server = Testing::Server->start('HTTP::Server::PSGI', 't/data/other_settings.psgi', env => \%env);
my $client = Testing::Client->get($server->port, '/');
ok $client->read_all,                                        'the stream ends';
ok wait_until($DEADLINE, sub { $server->log =~ /differs/ }), 'the log says why';
my ($line) = $server->log =~ /^(.*differs.*)$/m;
like $line, qr/the hub shop failed: EventSource::Hub: gap_event differs from that of the hub process/,
    'with the name of the hub';
like $line, qr{ at [^\n]*t/data/other_settings\.psgi line 7\.\z}, 'at the line that has made the application';

done_testing;
