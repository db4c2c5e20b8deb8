# ithreads beside streams on the server's writer: to another thread they have ended, and it cannot end them.

use lib 't/lib';
use Testing;
use Config;
BEGIN { plan skip_all => 'this perl has no threads' if !$Config{useithreads} }
use threads;

use EventSource::XS::Stream::Writer ();
use Plack::App::EventSource;
use Socket        qw(AF_UNIX PF_UNSPEC SOCK_STREAM);
use Testing::Fork qw(in_thread);
use Testing::RecordingWriter;

socketpair my $theirs, my $ours, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!";

# A close in any thread shows on the socket, which is not cloned.
my $writer = EventSource::XS::Stream::Writer::Socket->new($ours);
my $app    = Plack::App::EventSource->new(
    handler_cb => sub {
        my $conn    = shift;
        my @answers = in_thread sub { return ($conn->is_open, $conn->push('x'), $conn->close) };
        is_deeply \@answers, ['', ''], 'to a thread a stream of its parent has ended';
        ok $conn->is_open, 'which does not end it';
        $conn->push('after the thread');
    }
)->to_app;
$app->({REQUEST_METHOD => 'GET'})->(sub { $writer });
is do { local $/; readline $theirs }, "data: after the thread\r\n\r\n",
    'a stream continues after the end of a thread with a copy of it';

my ($kept) = in_thread sub {
    my $own    = Testing::RecordingWriter->new;
    my $stream = EventSource::XS::Stream::Writer->new($own, {});
    $stream->drop;
    return $own->times_closed;
};
is $kept, 1, 'a thread closes a stream of its own by drop';

done_testing;
