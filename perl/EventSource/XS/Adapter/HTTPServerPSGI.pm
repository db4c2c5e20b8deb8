package EventSource::XS::Adapter::HTTPServerPSGI;
use strict;
use warnings;

# HTTP::Server::PSGI, the server of plackup: one process, HTTP/1.0, the head at once.
#
# The writer is an inline object of the package HTTP::Server::PSGI. It writes to psgix.io itself, after the head, which is
# out when the responder returns. The server closes the socket when the application has returned. Workers are not recycled.
#
# A client that reads nothing for the server's timeout ends the response; some versions die then.

use parent 'EventSource::XS::Adapter';

sub name            { return 'HTTP::Server::PSGI' }
sub writer_packages { return 'HTTP::Server::PSGI' }
sub serving_subs    { return 'HTTP::Server::PSGI::accept_loop' }

# A write gives up when the server's own timeout is over.
sub send_timeouts { return "failed to send all data\n" }

# It repeats what a signal has interrupted, but IO::Socket::SSL gives a handshake up.
sub bears_signals { return $_[1]{'psgi.url_scheme'} ne 'https' }

sub relay_descriptor { return $_[1]->descriptor }

1;
