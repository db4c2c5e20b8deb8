package EventSource::XS::Hub::Proxy;
use strict;
use warnings;

# Looks whether a hub's streams are served for a proxy, as the last `hub run` was told (--http): that has left a file beside the
# socket of the hub, and a process that a worker or a command has started in its place serves none.

use EventSource::Hub::Process;
use IO::Socket::IP;
use IO::Socket::UNIX;

# Public methods

# Takes an EventSource::Hub::Process. Returns the problem as a clause, undef if there is none.
sub problem {
    my ($class, $hub)    = @_;
    my ($name,  $socket) = @{$hub->{place}}{qw(name socket)};
    my @sockets = defined $socket ? $socket : map { "$_/$name.sock" } EventSource::Hub::Process->_call('folders');
    my ($file) = grep { -e } map { "$_.proxy" } @sockets or return undef;
    open my $lines, '<', $file or return undef;
    my $endpoint = readline $lines // '';
    local $@;
    return undef
        if $endpoint =~ /\Aunix:(.+)/s ? IO::Socket::UNIX->new(Peer => $1) : IO::Socket::IP->new(PeerAddr => $endpoint);
    return
        "nobody serves --http $endpoint, which hub run was given, so proxies ask the application: start hub run again";
}

1;
