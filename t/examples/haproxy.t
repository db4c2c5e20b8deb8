# Streams behind HAProxy, with the configuration of EventSource::Deployment.

use strict;
use warnings;

use lib 't/lib';
use Test::More;
use Testing::ProxyCases qw(proxy_ok);

proxy_ok('HAProxy', has_timeout => 1);

done_testing;
