# Plack::App::EventSource keeps its contract on HTTP::Server::Simple::PSGI.

use strict;
use warnings;

use lib 't/lib';
use Testing::Contract;

Testing::Contract->run('HTTP::Server::Simple::PSGI');
