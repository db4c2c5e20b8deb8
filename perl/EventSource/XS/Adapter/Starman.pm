package EventSource::XS::Adapter::Starman;
use strict;
use warnings;

# Starman: preforked workers, keep-alive, chunks for HTTP/1.1.
#
# The writer is an inline object of the package Starman::Server. The head is out when the responder returns. It repeats the
# version of the client's request line, whatever that is. Under TLS psgix.io is an object of Net::Server, which says so in
# its NS_proto.
#
# A worker ends after --max-requests, 1000 unless given.
#
# After a takeover the worker is told that the client does not keep the connection. Otherwise it would wait for another
# request on /dev/null, and find that this is not a connection, which takes longer than all the rest of its own work after the
# response.

use parent 'EventSource::XS::Adapter';
use Scalar::Util qw(refaddr);

sub name            { return 'Starman' }
sub writer_packages { return 'Starman::Server' }

sub recycling_option { return '--max-requests' }
sub serving_subs     { return 'Starman::Server::dispatch_request' }

sub end_keep_alive {
    my ($class, $server, $env) = @_;
    $server->{client}{keepalive} = 0 if refaddr $server->{server}{client} == refaddr $env->{'psgix.io'};
    return;
}

# At HUP, a signal handler of Net::Server::PreFork only notes it while the worker serves a client.
sub is_ending { return $_[1]{server}{SigHUPed} }

sub requests_per_worker { return $_[1]{server}{max_requests} }

sub relay_descriptor { return $_[1]->descriptor }

1;
