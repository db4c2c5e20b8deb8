# curl, with a loop that reconnects, on a prefork server and, with compressed streams, on one with an event loop, through
# proxies that cut its streams. xt/clients has the libraries that registries have.

use lib 't/lib';
use Testing;
use Testing::Clients;

for my $name ('Starman', 'Twiggy') {
    subtest $name => sub { Testing::Clients->run($name, clients => ['curl'], compress => $name eq 'Twiggy') };
}

done_testing;
