# Plack::App::EventSource keeps its contract in process, where native => 'auto' finds no socket to take over.

use strict;
use warnings;

use lib 't/lib';
use Testing::Contract;

Testing::Contract->run('MockHTTP', native => 1);
