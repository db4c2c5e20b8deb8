# Client libraries on a prefork server and, with compressed streams, on one with an event loop, through proxies that cut their
# streams.

use lib 't/lib';
use Testing;
use Testing::Clients;

for my $name ('Starman', 'Twiggy') {
    subtest $name => sub { Testing::Clients->run($name, compress => $name eq 'Twiggy') };
}

done_testing;
