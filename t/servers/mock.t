# Plack::App::EventSource keeps its contract in process, under Plack::Test with MockHTTP.

use strict;
use warnings;

use lib 't/lib';
use Testing::Contract;

Testing::Contract->run('MockHTTP');
