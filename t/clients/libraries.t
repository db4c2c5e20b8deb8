# Client libraries on a prefork server and on one with an event loop, through proxies that cut their streams.

use strict;
use warnings;

use lib 't/lib';
use Test::More;
use Testing::Clients;

for my $name ('Starman', 'Twiggy') {
    subtest $name => sub { Testing::Clients->run($name) };
}

done_testing;
