# Plack::App::EventSource keeps its contract on each server, on the server's writer and with native streams, and the basics of
# it behind nginx, under TLS and on a Unix socket: but for the runs of t.

use lib 't/lib';
use Testing;
use Testing::ContractRuns qw(contract_holds);

contract_holds('xt');
