# Plack::App::EventSource keeps its contract on Feersum.

use strict;
use warnings;

use lib 't/lib';
use Contract;

Contract->run('Feersum');
