# Datastar's own test suite for SDKs, in Go: the events of EventSource::Datastar are those that it expects.
# EVENTSOURCE_XS_DATASTAR names its folder (CONTRIBUTING.md). The older suite in shell, sdk/test, has the same cases, but
# compares elements as text: there one case fails by the order of two attributes of a script, which has no meaning in HTML.

use lib 't/lib';
use Testing;
use Cwd                qw(getcwd);
use File::Temp         ();
use Testing::Developer qw(needs_command);
use Testing::Server;

my $folder = $ENV{EVENTSOURCE_XS_DATASTAR};
plan skip_all => 'EVENTSOURCE_XS_DATASTAR does not name the folder of the suite' if !defined $folder;
needs_command('go');

my $server = Testing::Server->start('Twiggy', 'xt/examples/datastar_sdk.psgi', workers => 1);
my $cache  = File::Temp->newdir;
my %env    = (GO111MODULE => 'off', GOPATH => '/usr/share/gocode', GOCACHE => "$cache");
my $said   = do {
    local @ENV{keys %env} = values %env;
    my $at = $server->url('') =~ s{/\z}{}r;
    qx{cd '$folder' && go test -v -server $at 2>&1};
};
is $?, 0, 'the suite passes' or diag $said;
my @passed = $said =~ /^ +--- PASS: (\S+)/mg;
cmp_ok @passed, '>=', 20, 'with all its cases';

done_testing;
