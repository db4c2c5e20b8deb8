# Plack::App::EventSource keeps its contract on Starlet with native streams.

use strict;
use warnings;

use lib 't/lib';
use Testing::Contract;

Testing::Contract->run('Starlet', native => 1);
