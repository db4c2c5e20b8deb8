# A server that gives no psgix.io, or one that must not be touched: the stream knows what it stands on all the same.

use strict;
use warnings;

use lib 't/lib';
use EventSource::Stream::Writer ();
use Testing::RecordingWriter;
use Test::More;

my @warnings;
local $SIG{__WARN__} = sub { push @warnings, @_ };

for my $env ({'psgi.nonblocking' => 1}, {'psgi.nonblocking' => 1, 'psgix.output.guard' => 1, 'psgix.io' => undef}) {
    my $name   = join ', ', sort keys %$env;
    my $writer = Testing::RecordingWriter->new;
    my $stream = EventSource::Stream::Writer->new($writer, $env);
    ok !$stream->is_blocking, "$name: does not block";
    $stream->drop;
    ok !$writer->times_closed, 'an event loop keeps what the application has dropped';
    ok $stream->write('x'),    'and it is written to';
    is $writer->kept, 'x', 'as it is';
    $stream->close;
    is $writer->times_closed, 1, 'until it is closed';
}
my $writer = Testing::RecordingWriter->new;
my $stream = EventSource::Stream::Writer->new($writer, {});
ok $stream->is_blocking, 'a blocking server';
$stream->drop;
is $writer->times_closed, 1,  'closes what the application has dropped';
is "@warnings",           '', 'nothing is warned about';

done_testing;
