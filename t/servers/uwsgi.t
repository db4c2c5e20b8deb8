# Plack::App::EventSource keeps its contract on uWSGI.

use strict;
use warnings;

use lib 't/lib';
use Testing::Contract;

Testing::Contract->run('uWSGI');
