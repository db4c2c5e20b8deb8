# Plack::App::EventSource keeps its contract in process, where no stream can be taken over, though it may be tried.

use strict;
use warnings;

use lib 't/lib';
use Testing::Contract;

Testing::Contract->run('MockHTTP', native => 1);
