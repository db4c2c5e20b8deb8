# Plack::App::EventSource keeps its contract on Starman.

use strict;
use warnings;

use lib 't/lib';
use Contract;

Contract->run('Starman');
