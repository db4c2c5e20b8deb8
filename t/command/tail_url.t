# eventsource tail URL: servers that cut, that lie, that want to be asked for ever.

use lib 't/lib';
use Testing;
use Testing::CommandLine;
use Testing::HostileServer qw(hostile_server);
use Testing::Port;

my $STREAM = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";

my $shell = Testing::CommandLine->new;

sub tail { return $shell->run('tail', @_) }

# A chunk of a response.
sub chunk {
    my $text = shift;
    return sprintf "%x\r\n%s\r\n", length $text, $text;
}

sub id_of { return $_[0] =~ /^Last-Event-ID: (.*?)\r$/m ? $1 : '' }

# A server that sends one event after the id of the request, and is cut in the next one.
sub cutting {
    my $id_after = shift;
    return hostile_server sub {
        my ($client, $head) = @_;
        my $id = $id_after->(id_of($head));
        print {$client} "${STREAM}Transfer-Encoding: chunked\r\n\r\n", chunk("retry: 1\nid: $id\ndata: $id\n\n"),
            "5\r\nda";
    };
}

subtest 'after a cut no event comes twice' => sub {
    my $server = cutting(sub { ($_[0] || 0) + 1 });
    my $done   = tail(qw(--data --count 3), $server->url('/'));
    is $done->{out}, "1\n2\n3\n", 'each event once';
    is_deeply [map { id_of($_) } $server->requests], ['', 1, 2], 'each request has the id of the last event';
};

subtest 'an id that is not ASCII' => sub {
    my $id = 'ü€' . "\x{9B}";
    utf8::encode($id);
    my $server = cutting(sub { "$_[0]$id" });
    tail(qw(--data --count 2), $server->url('/'));
    is_deeply [map { id_of($_) } $server->requests], ['', $id], 'it is sent back as it came';
};

subtest 'a response that is not a stream ends the command' => sub {
    my @cases = (
        [5, qr/its type is text\/html/  => "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n"],
        [5, qr/its type is text\/html/  => "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\nid: 1\ndata: a\n\n"],
        [5, qr/it has no type/          => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"],
        [5, qr/HTTP status 503 Not now/ => "HTTP/1.1 503 Not now\r\nContent-Length: 0\r\n\r\n"],
        [5, qr/more than 20 redirects/  => "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"],
        [3, qr/not a response of HTTP/  => "SSH-2.0-other\r\n\r\n"],
        [0, qr/\A\z/                    => "HTTP/1.1 204 No Content\r\n\r\n"],
    );
    for my $case (@cases) {
        my ($code, $pattern, $response) = @$case;
        my $server = hostile_server(sub { print {$_[0]} $response });
        my $done   = tail('--timeout', 10, $server->url('/'));
        is $done->{code}, $code, (split /\r/, $response)[0] . ": exit code $code" or diag explain $done;
        like $done->{err}, $pattern, 'and why';
        is $done->{out}, '', 'nothing is printed';
    }
};

subtest 'a server that cannot be reached at first ends the command' => sub {
    my $port = Testing::Port->new;
    my $done = tail('--timeout', 10, 'http://127.0.0.1:' . $port->number . '/');
    is $done->{code}, 3, 'exit code 3' or diag explain $done;
    like $done->{err}, qr/Connection refused/, 'and why';
};

subtest 'a server that wants to be asked at once' => sub {
    for my $body ("retry: 0\n\n", "retry: 0\ndata: again\n\n") {
        my $server = hostile_server(sub { print {$_[0]} "$STREAM\r\n$body" });
        tail('--timeout', 2, $server->url('/'));
        my $requests = () = $server->requests;
        cmp_ok $requests, '>', 1,  'is asked again';
        cmp_ok $requests, '<', 10, 'but not all the time';
    }
};

subtest 'the positions of a hub are not printed' => sub {
    my $server = hostile_server
        sub { print {$_[0]} "$STREAM\r\nevent: position\ndata\nid: a-0\n\ndata: a\n\nevent: position\ndata: mine\n\n" };
    is tail(qw(--data --count 2), $server->url('/'))->{out}, "a\nmine\n", 'only events';
};

done_testing;
