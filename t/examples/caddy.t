# Streams behind Caddy, with the configuration of EventSource::Deployment. It has no timeout for quiet streams unless one is
# configured.

use strict;
use warnings;

use lib 't/lib';
use Test::More;
use Testing::ProxyCases qw(proxy_ok);

proxy_ok('Caddy');

done_testing;
