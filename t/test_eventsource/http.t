# HTTP responses: each kind of framing, split at every byte, and broken off.

use lib 't/lib';
use Testing;
use EventSource::XS::Test::Response;
use IO::Socket::INET;
use POSIX ();
use Test::EventSource;
use Time::HiRes qw(ITIMER_REAL setitimer sleep);

my $EVENTS = "id: 1\ndata: one\n\ndata: two\n\n";
my $TYPE   = "Content-Type: text/event-stream\r\n";

my @CASES = (
    ['a body framed by the end of the connection', "HTTP/1.0 200 OK\r\n$TYPE\r\n$EVENTS"],
    ['a body framed by a length',                  "HTTP/1.1 200 OK\r\n${TYPE}Content-Length: 28\r\n\r\n$EVENTS"],
    [
        'a body framed by chunks',
        "HTTP/1.1 200 OK\r\n${TYPE}Transfer-Encoding: chunked\r\n\r\n5\r\nid: 1\r\n17;x=y\r\n\ndata: one\n\ndata: two\n\n\r\n0\r\n\r\n"
    ],
    [
        'chunks with a trailer',
        "HTTP/1.1 200 OK\r\n${TYPE}Transfer-Encoding: Chunked\r\n\r\n1C\r\n$EVENTS\r\n0\r\nX: y\r\n\r\n"
    ],
    [
        'informational responses before the response',
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\n$TYPE\r\n$EVENTS"
    ],
    ['a head with line feeds only', "HTTP/1.1 200 OK\nContent-Type: text/event-stream\n\n$EVENTS"],
);

subtest 'a response that is split anywhere is parsed alike' => sub {
    for my $case (@CASES) {
        my ($name, $bytes) = @$case;
        my @wrong;
        for my $at (0 .. length $bytes) {
            my $response = EventSource::XS::Test::Response->new;
            my $body     = join '', map { $response->take($_) } substr($bytes, 0, $at), substr $bytes, $at;
            $response->finish;
            push @wrong, $at if $body ne $EVENTS || !$response->is_complete || $response->head->code != 200;
        }
        is "@wrong", '', $name;
        my $response = EventSource::XS::Test::Response->new;
        is join('', map { $response->take($_) } split //, $bytes), $EVENTS, "$name, one byte at a time";
    }
};

subtest 'a response that ends too early is not complete' => sub {
    for my $case (
        ['without a head',        "HTTP/1.1 200 OK\r\nContent-Type: te"],
        ['before its length',     substr $CASES[1][1], 0, -1],
        ['in a chunk',            substr $CASES[2][1], 0, -12],
        ['before the last chunk', substr $CASES[2][1], 0, -5],
        ['before the last line',  substr $CASES[2][1], 0, -2],
    ) {
        my ($name, $bytes) = @$case;
        my $response = EventSource::XS::Test::Response->new;
        $response->take($bytes);
        ok !$response->is_ended, "$name: the response has not ended before the connection";
        $response->finish;
        ok $response->is_ended,     "$name: the response ends with the connection";
        ok !$response->is_complete, "$name: the response is not complete";
    }
};

subtest 'bytes that are not an HTTP response, and responses without a body' => sub {
    for my $case (
        ["SSH-2.0-x\r\n\r\n",                                            'this is not a response of HTTP: SSH-2.0-x'],
        ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 'this is not the size of a chunk'],
        ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", 'a chunk has not the length'],
    ) {
        my ($bytes, $why) = @$case;
        my $response = EventSource::XS::Test::Response->new;
        $response->take($bytes);
        like $response->problem, qr/\A\Q$why\E/, $why;
        ok $response->is_ended && !$response->is_complete, 'a problem ends the response as incomplete';
    }
    for my $case (['HEAD', 200], ['GET', 204], ['GET', 304]) {
        my $response = EventSource::XS::Test::Response->new(method => $case->[0]);
        $response->take("HTTP/1.1 $case->[1] X\r\nContent-Length: 5\r\n\r\n");
        ok $response->is_complete, "@$case has no body";
    }
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
