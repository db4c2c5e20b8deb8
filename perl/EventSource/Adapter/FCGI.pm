package EventSource::Adapter::FCGI;
use strict;
use warnings;

# Plack::Handler::FCGI: a worker that takes one request after the other from a web server. Its streams are never native.

our $VERSION = '0.100';

use parent 'EventSource::Adapter';
use Socket qw(SO_ACCEPTCONN SOL_SOCKET);

my $FOLDER = '/proc/self/fd';

sub name        { return 'FCGI' }
sub serving_sub { return 'Plack::Handler::FCGI::run' }

# The last of the two handles that is closed ends the request.
sub end_relayed_response {
    my ($class, $server) = @_;
    for my $handle (@$server{qw(stderr stdout)}) { close $handle or return }
    return;
}

# FCGI shows no application its connection. It is the one that was accepted on a socket that listens here. A worker has one
# request at a time; in any doubt there is none.
sub relay_descriptor {
    my ($class, $stream, $server) = @_;
    my (%listens, %connected);
    opendir my $entries, $FOLDER or return undef;
    for my $number (map { /\A([0-9]+)\z/ ? $1 : () } readdir $entries) {
        next if (readlink "$FOLDER/$number" || '') !~ /\Asocket:/;
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

# Private functions

# Returns the port or the path that a listening socket shares with those that it has accepted.
sub _service {
    my $address = shift;
    my $family  = Socket::sockaddr_family($address);
    return join ' ', $family, $family == Socket::AF_UNIX() ? $address : unpack 'x2 n', $address;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Adapter::FCGI - The adapter of Plack::Handler::FCGI

=head1 SYNOPSIS

    use EventSource::Adapter::FCGI;

    print EventSource::Adapter::FCGI->name, "\n";    # FCGI

=head1 DESCRIPTION

FastCGI frames the body of each response, and FCGI shows no application its connection. So a stream is never native. With a
hub that has a name (L<EventSource::Hub/name>) a process of its own takes the stream over: it keeps a copy of the request,
ends it, and sees that the web server has closed the connection. This adapter finds that connection by the address of the
socket that the server listens on.

See L<EventSource::Adapter> for the methods.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
