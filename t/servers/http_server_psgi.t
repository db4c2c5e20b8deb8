# Plack::App::EventSource keeps its contract on HTTP::Server::PSGI, which comes with Plack.

use lib 't/lib';
use Testing;
use Testing::Contract;

for my $native (0, 1) {
    subtest "native => $native" => sub { Testing::Contract->run('HTTP::Server::PSGI', native => $native) };
}

done_testing;
