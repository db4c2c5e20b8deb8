package EventSource::XS::Adapter::HTTPServerSimplePSGI;
use strict;
use warnings;

# HTTP::Server::Simple::PSGI: one process, HTTP/1.0, a writer that prints to STDOUT.
#
# The writer is an HTTP::Server::Simple::PSGI::Writer. It prints to STDOUT, which the server has made the client's socket
# and the selected handle, so a stream sends the head with an empty write while $| is set. The server closes the socket when
# the application has returned. Workers are not recycled.
#
# Behind a filter of the body the head is sent with the first event.

use parent 'EventSource::XS::Adapter';

sub name           { return 'HTTP::Server::Simple::PSGI' }
sub writer_classes { return 'HTTP::Server::Simple::PSGI::Writer' }

# The writer prints to STDOUT, which is the client's socket. What is printed stays in the buffer until $| is set.
sub sends_head_late { return !!1 }

1;
