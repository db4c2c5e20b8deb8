# Plack::App::EventSource keeps its contract on HTTP::Server::PSGI with native streams.

use strict;
use warnings;

use lib 't/lib';
use Testing::Contract;

Testing::Contract->run('HTTP::Server::PSGI', native => 1);
