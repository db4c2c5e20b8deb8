# HTTP responses: they are read as EventSource::Client reads them, whose t/client/answers.t has what an answer may look like.

use lib 't/lib';
use Testing;
use EventSource::XS::Client::Response;
use IO::Socket::INET;
use POSIX ();
use Test::EventSource;
use Time::HiRes qw(ITIMER_REAL setitimer sleep);

my $EVENTS = "id: 1\ndata: one\n\ndata: two\n\n";
my $TYPE   = "Content-Type: text/event-stream\r\n";

# Each with the bytes that its end may lack.
my @CASES = (
    ['framed by the end of the connection', "HTTP/1.0 200 OK\r\n$TYPE\r\n$EVENTS",                         undef],
    ['framed by a length',                  "HTTP/1.1 200 OK\r\n${TYPE}Content-Length: 28\r\n\r\n$EVENTS", 1],
    [
        'framed by chunks',
        "HTTP/1.1 200 OK\r\n${TYPE}Transfer-Encoding: chunked\r\n\r\n5\r\nid: 1\r\n17;x=y\r\n\ndata: one\n\ndata: two\n\n\r\n0\r\n\r\n",
        2
    ],
);

for my $case (@CASES) {
    my ($name, $bytes, $lacks) = @$case;
    my $response = EventSource::XS::Client::Response->new;
    is join('', map { $response->take($_) } split //, $bytes), $EVENTS, "a body $name, one byte at a time";
    $response->finish;
    ok $response->is_complete, "a body $name is complete";
    is $response->head->{status}, 200, 'its status';
    next if !defined $lacks;
    $response = EventSource::XS::Client::Response->new;
    $response->take(substr $bytes, 0, -$lacks);
    ok !$response->is_ended, 'a cut one has not ended before the connection';
    $response->finish;
    ok $response->is_ended && !$response->is_complete, 'and is not complete then';
}

subtest 'what is no response, and one without a body' => sub {
    my $response = EventSource::XS::Client::Response->new;
    $response->take("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n");
    like $response->problem, qr/\Athis is not the size of a chunk/, 'the problem';
    ok $response->is_ended && !$response->is_complete, 'ends the response as incomplete';
    $response = EventSource::XS::Client::Response->new('HEAD');
    $response->take("HTTP/1.1 200 X\r\nContent-Length: 5\r\n\r\n");
    ok $response->is_complete, 'a response to HEAD has no body';
};

# Answers one connection after the other with the given parts. ID becomes the request's last event ID; a number is a pause.
sub serve {
    my @answers  = @_;
    my $listener = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1', Proto => 'tcp') or die "listen: $@";
    my $pid      = fork;
    defined $pid or die "fork: $!";
    return ($pid, 'http://127.0.0.1:' . $listener->sockport) if $pid;
    for my $answer (@answers) {
        my $conn    = $listener->accept or last;
        my $request = '';
        $request .= $_ while $request !~ /\r\n\r\n/ && defined($_ = readline $conn);
        my ($id) = $request =~ /^Last-Event-ID: (.*?)\r$/m;
        for my $part (@$answer) {
            if ($part =~ /\A[0-9.]+\z/) { sleep $part }
            else                        { syswrite $conn, $part =~ s/ID/$id \/\/ 'none'/er }
        }
        shutdown $conn, 1;
        readline $conn;
        close $conn;
    }
    POSIX::_exit(0);
    return;
}

subtest 'a stream over a TCP connection' => sub {
    my $head = "HTTP/1.1 200 OK\r\n$TYPE";
    my ($pid, $url) = serve(
        ["$head\r\nid: 4\ndata: ID\n\n", 0.2, "data: late\n\ndata: never", 0.1],
        ["$head\r\ndata: ID\n\n"], ["${head}Transfer-Encoding: chunked\r\n\r\n9\r\ndata: x\n\n\r\n"],
        ["HTTP/1.1 200 "], ["what?\r\n\r\n"], [0.5],
    );
    my $es     = Test::EventSource->new(url => $url, timeout => 5);
    my $stream = $es->get('/');
    $stream->like_event('none');
    $stream->no_event(0.05, 'an event that is sent later has not been received');
    $stream->like_event({data => 'late', id => 4}, 'the late event is received');
    is $stream->next_event, undef, 'an incomplete event is not dispatched';
    $stream->ends_ok;
    $stream->reconnect->like_event({data => 4, id => 4}, 'reconnect sends the last event ID');
    $stream->ends_ok;
    my $cut = $es->get('/');
    $cut->like_event('x');
    ok $cut->has_ended,    'a stream that is cut off has ended';
    ok !$cut->is_complete, 'a stream that is cut off is not complete';

    for my $why (
        'the connection ended without an answer',
        'this is not a response of HTTP: what?',
        'it was not answered in 0.2 seconds'
    ) {
        ok !eval { $es->get('/', timeout => 0.2); 1 }, 'get dies without an HTTP answer';
        my $line = __LINE__ - 1;
        like $@, qr/\ATest::EventSource: GET \/: \Q$why\E\s* at [^\n]* line $line\.\n\z/,
            "the error says why and names the caller's line";
    }
    waitpid $pid, 0;
};

# The server does not read at first, so a signal interrupts the client while it sends.
subtest 'a signal while a long request is sent does not cut it off' => sub {
    my $listener = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1', Proto => 'tcp') or die "listen: $@";
    my $content  = 'x' x 20_000_000;
    pipe my $wait, my $go or die "pipe: $!";
    my $pid = fork;
    defined $pid or die "fork: $!";
    if (!$pid) {
        close $go;
        my $conn = $listener->accept;
        sysread $wait, my $byte, 1;
        my $count = 0;
        while ($count < length $content && sysread $conn, my $piece, 1_000_000) { $count += $piece =~ tr/x// }
        print {$conn} "HTTP/1.1 200 OK\r\nContent-Length: ", length $count, "\r\n\r\n$count";
        POSIX::_exit(0);
    }
    close $wait;
    my $rung = 0;
    local $SIG{ALRM} = sub { syswrite $go, 'x' if ++$rung == 3 };
    setitimer(ITIMER_REAL, 0.1, 0.1);
    my $es = Test::EventSource->new(url => 'http://127.0.0.1:' . $listener->sockport);
    is $es->post('/', content => $content)->content, length $content, 'the server receives the whole content';
    setitimer(ITIMER_REAL, 0, 0);
    waitpid $pid, 0;
};

done_testing;
