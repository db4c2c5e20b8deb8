# Plack::App::EventSource keeps its contract on HTTP::Server::PSGI, which comes with Plack.

use strict;
use warnings;

use lib 't/lib';
use Testing::Contract;
use Test::More;

for my $native (0, 1) {
    subtest "native => $native" => sub { Testing::Contract->run('HTTP::Server::PSGI', native => $native) };
}

done_testing;
