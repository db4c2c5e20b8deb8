# Plack::App::EventSource keeps its contract on a server that blocks and on one with an event loop; the basics of it behind
# nginx on a Unix socket, and under TLS. xt has each server.

use lib 't/lib';
use Testing;
use Testing::ContractRuns qw(contract_holds);

contract_holds(
    'Starman',      'Starman, native',
    'Starman, tls', 'Starman, unix, nginx documented',
    'Twiggy',       'Twiggy, native'
);
