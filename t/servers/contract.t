# Plack::App::EventSource keeps its contract on a server with an event loop, and with native streams on one that has workers.
# http_server_psgi.t has one that blocks. xt has each other server, nginx, TLS and Unix sockets.

use lib 't/lib';
use Testing;
use Testing::ContractRuns qw(contract_holds);

contract_holds('t');
