# Plack::App::EventSource keeps the basics of its contract under TLS, where streams stay on the server's writer.

use strict;
use warnings;

use lib 't/lib';
use Testing::Contract;
use Test::More;

Testing::Contract->run_basics($_, tls => 1) for 'HTTP::Server::PSGI', qw(Starman uWSGI);

done_testing;
