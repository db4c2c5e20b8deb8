# What the standard says about the bytes of a stream and about its responses, with every library: the cases of
# web-platform-tests (folder eventsource) that concern the wire.

use lib 't/lib';
use Testing;
use Testing::HostileServer qw(hostile_server);
use Testing::ReadingClient;

my $OK = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";

my @WAYS = Testing::ReadingClient->ways;

# A server that answers each request with these bytes; the answer to a request after the last one is 204.
sub answering {
    my @answers = @_;
    return hostile_server sub {
        my ($client, $head, $number) = @_;
        print {$client} $answers[$number - 1] // "HTTP/1.1 204 No Content\r\n\r\n";
    };
}

# The events of a stream by its bytes, as data, or [type, data, id].
my @STREAMS = (
    ['a BOM at the beginning', "\xEF\xBB\xBFdata:1\n\n\xEF\xBB\xBFdata:2\n\ndata:3\n\n" => '1', '3'],
    ['two BOMs',               "\xEF\xBB\xBF\xEF\xBB\xBFdata:1\n\ndata:2\n\ndata:3\n\n" => '2', '3'],
    ['comments', "data:1\n:\0\n:\r\ndata:2\n:" . ('x' x 5000) . "\rdata:3\n:data:fail\rdata:4\n\n" => "1\n2\n3\n4"],
    [
        'data',
        "data:msg\ndata: msg\n\n:\nfalsefield:msg\n\nfalsefield:msg\nData:data\n\ndata\n\ndata:end\n\n" =>
            "msg\nmsg",
        '', 'end'
    ],
    ['an event that is not complete', "data:test1\n\nid:test\ndata:test2" => 'test1'],
    ['a field event',        "event:test\ndata:x\n\ndata:x\n\n" => ['test',    'x',    ''], ['message', 'x', '']],
    ['an empty field event', "event: \ndata:data\n\n"           => ['message', 'data', '']],
    [
        'fields that are not quite fields',
        "data:\0\ndata:  2\rData:1\ndata\0:2\ndata:1\r\0data:4\nda-ta:3\rdata_5\ndata:3\rdata:\r\n data:32\ndata:4\n\n"
            => "\0\n 2\n1\n3\n\n4"
    ],
    ['an id',               "id: \x{C3}\x{BC}\ndata: a\n\ndata: b\n\n" => ['message', 'a', 'ü'], ['message', 'b', 'ü']],
    ['an id that is empty', "id: 1\ndata: a\n\nid\ndata: b\n\n"        => ['message', 'a', '1'], ['message', 'b', '']],
    ['an id with NUL',      "id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n"   => ['message', 'a', '1'], ['message', 'b', '1']],
    ['a leading tab and blank', "data:\ttest\rdata: \ndata:test\n\n"              => "\ttest\n\ntest"],
    ['line ends of all kinds',  "data:test\r\ndata\ndata:test\r\n\r"              => "test\n\ntest"],
    ['the word of a hub',       "event: eventsource-hub\ndata: {}\n\ndata: a\n\n" => 'a'],
    ['a NUL',                   "data:\0\n\n\n\n"                                 => "\0"],
    ['an unknown field',        "data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacommentyay\n\n" => "test\n"],
    ['UTF-8 that is wrong',     "data:ok\xE2\x82\xAC\n\ndata:\xFF\xE2\x82\n\n" => 'ok€', "\x{FFFD}\x{FFFD}"],
    ['no BOM but two bytes of one', "\xEF\xBBdata:1\n\ndata:2\n\n"             => '2'],
);

subtest 'the bytes of a stream' => sub {
    for my $stream (@STREAMS) {
        my ($name, $body, @expected) = @$stream;
        @expected = map { ref ? $_ : ['message', $_] } @expected;
        for my $way (@WAYS) {
            my $server = answering($OK . "\r\n$body");
            my $seen   = Testing::ReadingClient->read($way, {url => $server->url('/'), reconnect => 0});
            my @got =
                map { [@{$seen->{events}[$_]}{$#{$expected[$_] || []} == 1 ? qw(event data) : qw(event data id)}] }
                0 .. $#{$seen->{events}};
            is_deeply \@got, \@expected, "$name, by $way" or diag explain \@got;
        }
    }
};
done_testing;
