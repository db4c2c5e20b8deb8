package EventSource::Adapter::Starman;
use strict;
use warnings;

# Starman: preforked workers, keep-alive, chunks for HTTP/1.1.

our $VERSION = '0.100';

use parent 'EventSource::Adapter';

sub name            { return 'Starman' }
sub writer_packages { return 'Starman::Server' }

sub recycling_option { return '--max-requests' }
sub serving_sub      { return 'Starman::Server::dispatch_request' }

sub requests_per_worker {
    my ($class, $server) = @_;
    return $server->{server}{max_requests};
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Adapter::Starman - The adapter of Starman

=head1 SYNOPSIS

    use EventSource::Adapter::Starman;

    print EventSource::Adapter::Starman->name, "\n";    # Starman

=head1 DESCRIPTION

The writer is an inline object of the package Starman::Server. The head is out when the responder returns. It repeats
the version of the client's request line, whatever that is. Under TLS C<psgix.io> is an object of Net::Server, which
says so in its C<NS_proto>.

A worker ends after C<--max-requests>, 1000 unless given.

See L<EventSource::Adapter> for the methods.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
