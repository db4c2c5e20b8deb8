# Streams on the writer of a server that gives no psgix.io, or one that must not be fetched.

use lib 't/lib';
use Testing;
use EventSource::XS::Stream::Writer ();
use Testing::RecordingWriter;

my @warnings;
local $SIG{__WARN__} = sub { push @warnings, @_ };

for my $env ({'psgi.nonblocking' => 1}, {'psgi.nonblocking' => 1, 'psgix.output.guard' => 1, 'psgix.io' => undef}) {
    my $name   = join ', ', sort keys %$env;
    my $writer = Testing::RecordingWriter->new;
    my $stream = EventSource::XS::Stream::Writer->new($writer, $env);
    ok !$stream->is_blocking, "$name: the stream does not block";
    $stream->drop;
    ok !$writer->times_closed, "$name: a dropped stream stays open under an event loop";
    ok $stream->write('x'),    "$name: a dropped stream takes a write";
    is $writer->kept, 'x', "$name: the writer gets the bytes unchanged";
    $stream->close;
    is $writer->times_closed, 1, "$name: close closes the writer";
}
my $writer = Testing::RecordingWriter->new;
my $stream = EventSource::XS::Stream::Writer->new($writer, {});
ok $stream->is_blocking, 'a stream on a server that blocks is blocking';
$stream->drop;
is $writer->times_closed, 1,  'a dropped stream is closed on a server that blocks';
is "@warnings",           '', 'there are no warnings';

done_testing;
