# Plack::App::EventSource keeps its contract on HTTP::Server::PSGI.

use strict;
use warnings;

use lib 't/lib';
use Testing::Contract;

Testing::Contract->run('HTTP::Server::PSGI');
