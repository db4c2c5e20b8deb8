package EventSource::Adapter::Twiggy;
use strict;
use warnings;

# Twiggy: an AnyEvent server whose writer holds an AnyEvent::Handle.

our $VERSION = '0.100';

use parent 'EventSource::Adapter';

sub name           { return 'Twiggy' }
sub writer_classes { return 'Twiggy::Writer' }

# Twiggy reads nothing from a client that it writes to, and its event loop dies of an uncaught error when that client
# disconnects. What the client sends is read and thrown away, or it would wake the loop forever.
sub watch {
    my ($class, $writer, $on_leave) = @_;
    my $handle = $writer->{handle} or return !!1;
    $handle->on_error($on_leave);
    $handle->on_eof($on_leave);
    $handle->on_read(sub { $_[0]{rbuf} = '' });
    return !!1;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Adapter::Twiggy - The adapter of Twiggy

=head1 SYNOPSIS

    use EventSource::Adapter::Twiggy;

    print EventSource::Adapter::Twiggy->name, "\n";    # Twiggy

=head1 DESCRIPTION

The writer is a Twiggy::Writer, which sends the head at once unless the socket is full. Twiggy does not watch its
client. So L<EventSource::Adapter/watch> sets the callbacks of the writer's handle; without them a client that
disconnects ends the server.

Behind a filter of the body the handle is not reachable. There the stream watches C<psgix.io>.

See L<EventSource::Adapter> for the methods.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
