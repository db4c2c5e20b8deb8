# Plack::App::EventSource keeps the basics of its contract on servers that listen on a Unix socket.

use strict;
use warnings;

use lib 't/lib';
use Testing::Contract;
use Test::More;

Testing::Contract->run_basics($_, unix => 1) for 'HTTP::Server::PSGI', qw(Starman Starlet Twiggy Feersum uWSGI);

done_testing;
