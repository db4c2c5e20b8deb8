# Streams of a hub in a process of its own outlive the workers of HTTP::Server::PSGI.

use strict;
use warnings;

use lib 't/lib';
use Testing::Outlive;

Testing::Outlive->run('HTTP::Server::PSGI', single => 1);
