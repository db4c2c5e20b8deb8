package EventSource::XS::Adapter::FCGI;
use strict;
use warnings;

# Plack::Handler::FCGI: a worker that takes one request after the other from a web server. Its streams are never native.
#
# FastCGI frames the body of each response, and FCGI shows no application its connection. So a stream is never native. With
# a named hub (EventSource::Hub::name) a process of its own takes the stream over: it keeps a copy of the request,
# and ends it. This adapter finds the connection by the address of the socket that the server listens on, so a stream sees
# that the web server has closed it.

use parent 'EventSource::XS::Adapter';
use EventSource::XS::SocketPair;
use POSIX        ();
use Scalar::Util qw(reftype);
use Socket       qw(SO_ACCEPTCONN SOL_SOCKET);

# FCGI_UNKNOWN_TYPE: version, type, no request, the length of its content, which names a type.
my $NO_REQUEST = pack 'C2 n2 x2 x8', 1, 11, 0, 8;

my $FOLDER = '/proc/self/fd';

sub name         { return 'FCGI' }
sub serving_subs { return 'Plack::Handler::FCGI::run' }

sub recognized_by { return (io => 0) }

# One of the two handles is FCGI's own, though an option gives another one for the errors, and a body may have been read.
sub recognizes_env {
    my ($class, $env) = @_;
    return !!0 if exists $env->{'psgix.io'};
    my @handles = grep { (reftype $_ || '') eq 'GLOB' } map { $env->{$_} } qw(psgi.errors psgi.input);
    return !!grep { ref tied(*$_) eq 'FCGI::Stream' } @handles;
}

# The stream sees by a copy of the connection that the web server has closed it.
sub client_socket {
    my $class  = shift;
    my $number = $class->_connection;
    return defined $number ? $class->copy_handle($number) : undef;
}

# The last of the two handles that is closed ends the request. A web server that keeps connections would send the next request
# before it sees that this one is closed. nginx keeps none on which more follows: here a record of no request, which says
# nothing.
sub end_relayed_response {
    my ($class, $server, $socket) = @_;
    my ($read, $write) = EventSource::XS::SocketPair->open or return;
    my $copy = $class->copy_handle(fileno $socket) or return;
    POSIX::dup2(fileno $write, fileno $socket);
    close $server->{stderr};
    close $server->{stdout};
    POSIX::dup2(fileno $copy, fileno $socket);
    close $write;
    my $end = do { local $/; readline $read };
    syswrite $socket, $end . $NO_REQUEST;
    shutdown $socket, 1;
    return;
}

# The handler of the manager only notes a signal while the worker serves a client. It returns what it has noted if it is given
# no name of a signal.
sub is_ending {
    my $noted = $FCGI::ProcManager::SIG_CODEREF->('');
    return !!grep { $noted->{$_} } qw(TERM HUP);
}

sub relay_descriptor {
    my ($class, $stream) = @_;
    return $class->_connection($stream->descriptor);
}

# Private functions

# The number of the connection; not that of a copy. FCGI shows no application its connection. It is the one that was accepted on
# a socket that listens here. A worker has one request at a time; in any doubt there is none.
sub _connection {
    my ($class, $copy) = @_;
    my (%listens, %connected);
    opendir my $entries, $FOLDER or return undef;
    for my $number (map { /\A([0-9]+)\z/ ? $1 : () } readdir $entries) {
        next if defined $copy && $number == $copy || (readlink "$FOLDER/$number" || '') !~ /\Asocket:/;
        my $socket  = $class->copy_handle($number) or next;
        my $address = getsockname $socket;
        next if !defined $address;
        my $listening = getsockopt $socket, SOL_SOCKET, SO_ACCEPTCONN;
        if    (defined $listening && unpack 'i', $listening) { $listens{_service($address)} = 1 }
        elsif (defined getpeername $socket)                  { push @{$connected{_service($address)}}, $number }
    }
    my @numbers = map { @{$connected{$_} || []} } keys %listens;
    return @numbers == 1 ? $numbers[0] : undef;
}

# Returns the port or the path that a listening socket shares with those that it has accepted.
sub _service {
    my $address = shift;
    my $family  = Socket::sockaddr_family($address);
    return join ' ', $family, $family == Socket::AF_UNIX() ? $address : unpack 'x2 n', $address;
}

1;
