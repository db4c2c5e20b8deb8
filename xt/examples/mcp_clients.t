# The official clients of MCP in TypeScript and Python at the server of examples/mcp with four workers: without sessions and
# with them they see the progress of a call, are asked, and are notified of what a call on any worker causes.

use lib qw(t/lib examples/live/lib);
use Testing;
use File::Temp ();
use JSON::PP   qw(decode_json);
use Live::Processes;
use Testing::Clients::Install;
use Testing::Node qw(packages_missing);
use Testing::Server;

my $FOLDER = 'xt/examples/mcp';

Testing->need('named_hubs');
Testing::Server->require_or_skip_all('Starman');

my $folder = File::Temp->newdir;
my %env    = (MCP_SOCKET => "$folder/hub.sock", MCP_TOOLS => "$FOLDER/tools.pl");
my $server = Testing::Server->start('Starman', 'examples/mcp/app.psgi', workers => 4, env => \%env);

sub node { return (glob "$FOLDER/node_modules/node-linux-*/bin/node")[0] }

for my $client (
    ['TypeScript', sub { packages_missing($FOLDER) }, \&node, "$FOLDER/client.mjs"],
    [
        'Python',                                          sub { Testing::Clients::Install->missing('python') },
        sub { Testing::Clients::Install->path('python') }, "$FOLDER/client.py"
    ],
) {
    my ($language, $missing, $program, $file) = @$client;
    subtest $language => sub {
        my $trouble = $missing->() // ($program->() ? undef : 'npm has no Node.js 22 for this processor');
        plan skip_all => $trouble if defined $trouble;
        my @command = ($program->(), $file, $server->url('/mcp'));
        my @seen    = map { decode_json($_) } grep { /\A\{/ } qx{timeout 60 @command};
        is $?, 0, 'the client ends in order';
        is_deeply [map { $_->{version} } @seen], [qw(2026-07-28 2025-11-25)], 'both generations are served';
        for (@seen) {
            is_deeply $_->{progress}, [0, 50, 100], "$_->{version}: the progress of a call";
            is $_->{text}, 'LLM response: HELLO', 'the client is asked';
            ok $_->{changed}, 'it is notified of a change';
        }
    };
}

$server->stop;
Live::Processes::end_hub($env{MCP_SOCKET});
done_testing;
