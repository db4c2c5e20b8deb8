# Plack::App::EventSource keeps its contract on Starman with native streams.

use strict;
use warnings;

use lib 't/lib';
use Testing::Contract;

Testing::Contract->run('Starman', native => 1);
