package EventSource::XS::Adapter::Catalyst;
use strict;
use warnings;

# Catalyst's writer, which stands in front of the writer of the server that Catalyst runs on.

our $VERSION = '0.100';

use parent 'EventSource::XS::Adapter';
use B ();

my $WRITER = 'Catalyst::Response::Writer';

sub name            { return 'Catalyst' }
sub wrapper_classes { return $WRITER }

# Only as long as its write is Catalyst's own: a plugin may have wrapped the method.
sub inner_writer {
    my ($class, $writer) = @_;
    my $write = $WRITER->can('write');
    return undef if !$write || B::svref_2object($write)->STASH->NAME ne $WRITER;
    return $writer->{_writer};
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::XS::Adapter::Catalyst - The adapter of Catalyst's writer

=head1 SYNOPSIS

    use EventSource::XS::Adapter::Catalyst;

    print EventSource::XS::Adapter::Catalyst->name, "\n";    # Catalyst

=head1 DESCRIPTION

Catalyst is not a server. An action may give a response of this distribution to Catalyst:

    $c->res->from_psgi_response($app->($c->req->env));

The responder then returns a Catalyst::Response::Writer, whose C<write> and C<close> call those of the server's
writer. This adapter shows the writer inside, so that the stream is as it would be without Catalyst: native where the
server allows it. If something has replaced C<Catalyst::Response::Writer::write>, the writer counts as unknown.

See L<EventSource::XS::Adapter> for the methods.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
