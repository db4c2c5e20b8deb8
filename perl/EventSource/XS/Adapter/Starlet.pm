package EventSource::XS::Adapter::Starlet;
use strict;
use warnings;

# Starlet: preforked workers that read several requests of a client at once.
#
# The writer is an inline object of the package Starlet::Server. The head is out when the responder returns.
#
# The server runs a pipelined request also when the stream before it has been taken over. psgix.io of that request is
# /dev/null; Adapter::has_left sees that.
#
# A worker ends after --max-reqs-per-child requests, 100 unless given. A smaller --min-reqs-per-child is not looked at.

use parent 'EventSource::XS::Adapter';
use Socket qw(SOL_SOCKET SO_RCVTIMEO);

sub name            { return 'Starlet' }
sub writer_packages { return 'Starlet::Server' }

# A write gives up when the server's own timeout is over.
sub send_timeouts { return "failed to send all data\n" }

sub recycling_option { return '--max-reqs-per-child' }
sub serving_subs     { return 'Starlet::Server::accept_loop' }

# A worker looks whether it was sent TERM, and then waits in accept. A TERM between the two is only noted, and the worker would
# keep its streams until the next client comes. So accept waits for a second at most, after which the worker looks again.
sub hear_signals {
    my ($class, $server) = @_;
    my $second = pack 'l!l!', 1, 0;    # struct timeval
    setsockopt $_->{sock}, SOL_SOCKET, SO_RCVTIMEO, $second for grep { defined } @{$server->{listens}};
    return;
}

sub bears_signals { return !!1 }

# The master sends its workers TERM, at HUP too. They only note it while they serve a client.
sub is_ending { return $_[1]{term_received} }

sub requests_per_worker { return $_[1]{max_reqs_per_child} }

sub relay_descriptor { return $_[1]->descriptor }

1;
