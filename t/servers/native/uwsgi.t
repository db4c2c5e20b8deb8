# Plack::App::EventSource keeps its contract on uWSGI with streams that are taken over from it.

use strict;
use warnings;

use lib 't/lib';
use Testing::Contract;

Testing::Contract->run('uWSGI', native => 1);
