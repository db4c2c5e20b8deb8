package EventSource::XS::Adapter::FCGILoop;
use strict;
use warnings;

# FCGI::EV and AnyEvent::FCGI: FastCGI in an event loop, for which CPAN has Plack::Handler::FCGI::EV and
# Plack::Handler::AnyEvent::FCGI. Their streams are never native, because FastCGI frames the body.
#
# The environment shows no connection, and AnyEvent::FCGI drops what is written after a client has left, with a warning. So this
# adapter takes the connection from the object that calls the application. A process of a relay cannot use their writers, which
# need the loop.

use parent 'EventSource::XS::Adapter';

# For each server, the file of its module, its methods that call the application, and the handle of such an object.
my @SERVERS = (
    ['FCGI/EV.pm',       'FCGI::EV::IO',                                sub { $_[0]{io} && $_[0]{io}{fh} }],
    ['AnyEvent/FCGI.pm', 'AnyEvent::FCGI::Connection::_process_record', sub { $_[0]{io}->fh }],
);

sub name { return 'FastCGI in an event loop' }

sub serving_subs {
    return map { $_->[1] } @SERVERS;
}

sub recognized_by { return (io => 0) }

sub recognizes_env {
    my ($class, $env) = @_;
    return !exists $env->{'psgix.io'} && $env->{'psgi.nonblocking'} && !!grep { $INC{$_->[0]} } @SERVERS;
}

# The server may close its own handle before the stream ends.
sub client_socket {
    my $class = shift;
    my ($adapter, $connection) = $class->of_caller;
    return undef if ($adapter || '') ne $class;
    local ($@, $SIG{__DIE__});
    my ($handle) = map { $_->[2] } grep { $connection->isa($_->[1] =~ s/::\w+\z//r) } @SERVERS;
    my $number = eval { fileno $handle->($connection) };
    return defined $number ? $class->copy_handle($number) : undef;
}

# It waits for further requests on the connection.
sub reads_client { return !!1 }

1;
