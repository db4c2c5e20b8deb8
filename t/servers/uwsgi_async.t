# uWSGI with --async says that it has an event loop, which it has not: streams behave as without that option.

use lib 't/lib';
use Testing;
use Testing::Client;
use Testing::Server;

for my $native ('auto', 0) {
    my $server = Testing::Server->start(
        'uWSGI', 't/data/hub.psgi',
        workers => 1,
        args    => ['--async', 4],
        env     => {HUB_NATIVE => $native, HUB_SETTINGS => '{"per_process":1,"position":"id"}'}
    );
    my $client = Testing::Client->get($server->port, '/hub?channels=a');
    ok $client->read_until(qr/^id: /m), "native => $native: the stream begins" or diag $server->log;
}

done_testing;
