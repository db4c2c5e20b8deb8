# The conformance suite of MCP, from npm, on the server of examples/mcp with four workers, for both versions. It knows which
# scenarios do not apply: one of these that passes is a failure, too. The suite needs Node.js 22, which npm has as a package.

use lib qw(t/lib examples/live/lib);
use Testing;
use File::Temp ();
use JSON::PP   qw(decode_json);
use Live::Processes;
use Testing::Developer qw(needs);
use Testing::Node      qw(packages_missing);
use Testing::Server;
use Testing::SourceTree qw(slurp);

my $FOLDER = 'xt/examples/mcp';
my $BEYOND = "$FOLDER/not_applicable.yml";

# The scenarios of each version that concern streams: what the suite says of the server has to be a success, and no warning.
my %STREAMS = (
    '2026-07-28' => [
        qw(
            http-header-validation input-required-result-multi-round server-sse-multiple-streams server-stateless
            tools-call-with-progress
        )
    ],
    '2025-11-25' => [
        qw(
            server-sse-multiple-streams server-sse-polling tools-call-elicitation tools-call-sampling
            tools-call-with-logging tools-call-with-progress
        )
    ],
);

Testing->need('named_hubs');
Testing::Server->require_or_skip_all('Starman');
needs(packages_missing($FOLDER));
my ($node) = glob "$FOLDER/node_modules/node-linux-*/bin/node";
needs($node ? undef : 'npm has no Node.js 22 for this processor');

my $folder = File::Temp->newdir;
my %env    = (MCP_SOCKET => "$folder/hub.sock", MCP_TOOLS => "$FOLDER/tools.pl");
my $server = Testing::Server->start('Starman', 'examples/mcp/app.psgi', workers => 4, env => \%env);

# The checks of a scenario, without those that only inform or concern what the server does not have.
sub checks_of {
    my ($version, $scenario) = @_;
    my ($file) = glob "$folder/$version/*$scenario*/checks.json" or return;
    return grep { $_->{status} !~ /\A(?:INFO|SKIPPED)\z/ } @{decode_json(slurp($file))};
}

my $suite = "$node $FOLDER/node_modules/\@modelcontextprotocol/conformance/dist/index.js";
for my $version (sort keys %STREAMS) {
    my $options = "--requirements $version --expected-failures $BEYOND -o $folder/$version";
    my $printed = qx{timeout 120 $suite server --url '@{[$server->url('/mcp')]}' $options 2>&1};
    is $?, 0, "$version: what applies passes, and nothing else" or diag $printed;

    for my $scenario (@{$STREAMS{$version}}) {
        my @checks = checks_of($version, $scenario);
        ok @checks, "$version: $scenario has checks";
        is $_->{status}, 'SUCCESS', "$version: $scenario: $_->{name}" or diag explain $_ for @checks;
    }
}

my @beyond = slurp($BEYOND)                  =~ /^  - (\S+)$/mg;
my ($list) = slurp('examples/mcp/README.md') =~ /These do not apply:(.*)/s;
my @named  = $list                           =~ /^\| `(\S+)`/mg;
is_deeply [sort @named], [sort @beyond], 'README names the scenarios that do not apply';

$server->stop;
Live::Processes::end_hub($env{MCP_SOCKET});
done_testing;
