# Plack::App::EventSource keeps its contract on Feersum with native streams.

use strict;
use warnings;

use lib 't/lib';
use Testing::Contract;

Testing::Contract->run('Feersum', native => 1);
