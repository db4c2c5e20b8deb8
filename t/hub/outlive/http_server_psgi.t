# Streams of a named hub outlive the workers of HTTP::Server::PSGI.

use strict;
use warnings;

use lib 't/lib';
use Testing::Outlive;

Testing::Outlive->run('HTTP::Server::PSGI', single => 1);
