# Responses as they may come: how they are framed, cut anywhere, broken off.

use strict;
use warnings;

use IO::Socket::INET;
use POSIX ();
use Test::EventSource;
use Test::EventSource::Response;
use Test::More;
use Time::HiRes qw(ITIMER_REAL setitimer sleep);

my $EVENTS = "id: 1\ndata: one\n\ndata: two\n\n";
my $TYPE   = "Content-Type: text/event-stream\r\n";

my @CASES = (
    ['the end of the connection', "HTTP/1.0 200 OK\r\n$TYPE\r\n$EVENTS"],
    ['a length',                  "HTTP/1.1 200 OK\r\n${TYPE}Content-Length: 28\r\n\r\n$EVENTS"],
    [
        'chunks',
        "HTTP/1.1 200 OK\r\n${TYPE}Transfer-Encoding: chunked\r\n\r\n5\r\nid: 1\r\n17;x=y\r\n\ndata: one\n\ndata: two\n\n\r\n0\r\n\r\n"
    ],
    ['a trailer', "HTTP/1.1 200 OK\r\n${TYPE}Transfer-Encoding: Chunked\r\n\r\n1C\r\n$EVENTS\r\n0\r\nX: y\r\n\r\n"],
    [
        'what comes in advance',
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\n$TYPE\r\n$EVENTS"
    ],
    ['plain line feeds', "HTTP/1.1 200 OK\nContent-Type: text/event-stream\n\n$EVENTS"],
);

subtest 'a response cut anywhere' => sub {
    for my $case (@CASES) {
        my ($name, $bytes) = @$case;
        my @wrong;
        for my $at (0 .. length $bytes) {
            my $response = Test::EventSource::Response->new;
            my $body     = join '', map { $response->take($_) } substr($bytes, 0, $at), substr $bytes, $at;
            $response->finish;
            push @wrong, $at if $body ne $EVENTS || !$response->is_complete || $response->head->code != 200;
        }
        is "@wrong", '', $name;
        my $response = Test::EventSource::Response->new;
        is join('', map { $response->take($_) } split //, $bytes), $EVENTS, "$name, by the byte";
    }
};

subtest 'a response that ends too early' => sub {
    for my $case (
        ['without a head',        "HTTP/1.1 200 OK\r\nContent-Type: te"],
        ['before its length',     substr $CASES[1][1], 0, -1],
        ['in a chunk',            substr $CASES[2][1], 0, -12],
        ['before the last chunk', substr $CASES[2][1], 0, -5],
        ['before the last line',  substr $CASES[2][1], 0, -2],
    ) {
        my ($name, $bytes) = @$case;
        my $response = Test::EventSource::Response->new;
        $response->take($bytes);
        ok !$response->is_ended, "$name: goes on";
        $response->finish;
        ok $response->is_ended,     'ends';
        ok !$response->is_complete, 'is not complete';
    }
};

subtest 'a response that is none' => sub {
    for my $case (
        ["SSH-2.0-x\r\n\r\n",                                                'this is no response: SSH-2.0-x'],
        ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",     'this is no chunk: xyz'],
        ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", 'a chunk does not end'],
    ) {
        my ($bytes, $why) = @$case;
        my $response = Test::EventSource::Response->new;
        $response->take($bytes);
        like $response->trouble, qr/\A\Q$why\E/, $why;
        ok $response->is_ended && !$response->is_complete, 'ends it';
    }
    for my $case (['HEAD', 200], ['GET', 204], ['GET', 304]) {
        my $response = Test::EventSource::Response->new(method => $case->[0]);
        $response->take("HTTP/1.1 $case->[1] X\r\nContent-Length: 5\r\n\r\n");
        ok $response->is_complete, "@$case has no body";
    }
};

# Answers one connection after the other, with what was given and what it got; a number is a time to wait.
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

subtest 'over a connection' => sub {
    my $head = "HTTP/1.1 200 OK\r\n$TYPE";
    my ($pid, $url) = serve(
        ["$head\r\nid: 4\ndata: ID\n\n", 0.2, "data: late\n\ndata: never", 0.1],
        ["$head\r\ndata: ID\n\n"], ["${head}Transfer-Encoding: chunked\r\n\r\n9\r\ndata: x\n\n\r\n"],
        ["HTTP/1.1 200 "], ["what?\r\n\r\n"], [0.5],
    );
    my $es     = Test::EventSource->new(url => $url, timeout => 5);
    my $stream = $es->get('/');
    $stream->like_event('none');
    $stream->no_event(0.05, 'what comes later has not come');
    $stream->like_event({data => 'late', id => 4}, 'and then it has');
    is $stream->next_event, undef, 'an event that is not whole is none';
    $stream->ends_ok;
    $stream->reconnect->like_event({data => 4, id => 4}, 'the ID is sent');
    $stream->ends_ok;
    my $cut = $es->get('/');
    $cut->like_event('x');
    ok $cut->has_ended,    'one that is cut off';
    ok !$cut->is_complete, 'can be told from one that ends';

    for my $why (
        'the connection ended without an answer',
        'this is no response: what?',
        'it was not answered in 0.2 seconds'
    ) {
        ok !eval { $es->get('/', timeout => 0.2); 1 }, 'no answer';
        my $line = __LINE__ - 1;
        like $@, qr/\ATest::EventSource: GET \/: \Q$why\E\s* at \S+ line $line\.\n\z/, 'and why';
    }
    waitpid $pid, 0;
};

# While the server does not read, the request waits in the middle, where a signal finds it.
subtest 'a signal while a long request is sent' => sub {
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
    is $es->post('/', content => $content)->content, length $content, 'does not cut it off';
    setitimer(ITIMER_REAL, 0, 0);
    waitpid $pid, 0;
};

done_testing;
