package EventSource::XS::TCPConnection;
use strict;
use warnings;

# Connects to a host. If an address does not answer at once, the next one is tried beside it (RFC 8305), so that a dead address
# costs a quarter of a second. IO::Socket::IP waits for the whole timeout of each address.

use Errno qw(ETIMEDOUT);
use IO::Select;
use IO::Socket::IP;
use Socket      qw(AI_ADDRCONFIG IPPROTO_TCP SOCK_STREAM getaddrinfo);
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime);

my $DELAY = 0.25;    # seconds between two attempts, as RFC 8305 recommends

# Return a connected socket that blocks, or undef and the reason. seconds is the time that each address has to answer.
sub connect {
    my ($class, $host, $port, $seconds) = @_;
    my %kind = (protocol => IPPROTO_TCP, socktype => SOCK_STREAM);
    $kind{flags} = AI_ADDRCONFIG if $host ne 'localhost' && $host !~ /\A[0-9.]+\z|:/;
    my ($error, @addresses) = getaddrinfo($host, $port, \%kind);
    return (undef, "$error") if $error;

    my ($select, %until, $failure) = IO::Select->new;
    my $next = _now();
    while (@addresses || %until) {
        my $now = _now();
        for my $socket (grep { $until{fileno $_} <= $now } $select->handles) {
            $failure //= do { local $! = ETIMEDOUT; "$!" };
            delete $until{fileno $socket};
            $select->remove($socket);
        }
        if (@addresses && ($now >= $next || !%until)) {
            my $socket = IO::Socket::IP->new(PeerAddrInfo => [shift @addresses], Blocking => 0);
            if ($socket) {
                $select->add($socket);
                ($next, $until{fileno $socket}) = ($now + $DELAY, $now + $seconds);
            }
            else { $failure //= "$!" }
            next;
        }
        my ($due) = sort { $a <=> $b } values(%until), @addresses ? $next : ();
        for my $socket (defined $due && $due > $now ? $select->can_write($due - $now) : ()) {
            if ($socket->connect) {
                $socket->blocking(1);
                return $socket;
            }
            $failure //= "$!";
            delete $until{fileno $socket};
            $select->remove($socket);
            $next = $now;
        }
    }
    return (undef, $failure);
}

sub _now { return clock_gettime(CLOCK_MONOTONIC) }

1;
