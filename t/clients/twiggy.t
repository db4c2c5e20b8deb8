# Client libraries on Twiggy, through proxies that cut their streams.

use strict;
use warnings;

use lib 't/lib';
use Test::More;
use Testing::Clients;

Testing::Clients->run('Twiggy');

done_testing;
