# Plack::App::EventSource keeps its contract on Feersum with streams that are taken over from it.

use strict;
use warnings;

use lib 't/lib';
use Testing::Contract;

Testing::Contract->run('Feersum', native => 1);
