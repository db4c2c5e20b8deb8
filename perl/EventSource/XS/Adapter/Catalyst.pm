package EventSource::XS::Adapter::Catalyst;
use strict;
use warnings;

# Catalyst's writer, which stands in front of the writer of the server that Catalyst runs on.
#
# The responder of from_psgi_response returns a Catalyst::Response::Writer, whose write and close call those of the server's
# writer. This adapter shows the writer inside, so that the stream is as it would be without Catalyst: native where the
# server allows it. If something has replaced Catalyst::Response::Writer::write, the writer counts as unknown.

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
