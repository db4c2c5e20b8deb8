# Client libraries on a prefork server and on one with an event loop, through proxies that cut their streams.

use lib 't/lib';
use Testing;
use Testing::Clients;

for my $name ('Starman', 'Twiggy') {
    subtest $name => sub { Testing::Clients->run($name) };
}

done_testing;
