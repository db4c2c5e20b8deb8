# Plack::App::EventSource keeps its contract on Starlet.

use strict;
use warnings;

use lib 't/lib';
use Testing::Contract;

Testing::Contract->run('Starlet');
