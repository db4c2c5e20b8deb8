# Plack::App::EventSource keeps its contract on Twiggy with native streams.

use strict;
use warnings;

use lib 't/lib';
use Testing::Contract;

Testing::Contract->run('Twiggy', native => 1);
