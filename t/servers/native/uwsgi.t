# Plack::App::EventSource keeps its contract on uWSGI with native streams.

use strict;
use warnings;

use lib 't/lib';
use Testing::Contract;

Testing::Contract->run('uWSGI', native => 1);
