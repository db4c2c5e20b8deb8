# A native stream to an HTTP/1.1 client is chunked on every server, and has its last chunk if and only if it was not cut. A
# stream to an HTTP/1.0 client has no chunks. The decoder is the test's own, and strict.

use lib 't/lib';
use Testing;
use Testing::Server;
use IO::Select;
use IO::Socket::INET;
use Plack::App::EventSource;
use Time::HiRes qw(time);

plan skip_all => 'there are no native streams on this system' if !Plack::App::EventSource->can('native');

my @SERVERS = (Testing::Server->tested('HTTP::Server::Simple::PSGI'), Testing::Server->names);

# Feersum has sent its own head before the takeover. It does not say that the connection ends, but ends it.
my $says_close;

# Sends a request. Returns the socket.
sub request {
    my ($server, $path, $version) = @_;
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $server->port) or die "connect: $!";
    print {$socket} "GET $path HTTP/$version\r\nHost: localhost\r\n\r\n" or die "print: $!";
    $socket->flush;
    return $socket;
}

# Reads until the bytes match, or to the end. Returns what has arrived at the deadline at the latest.
sub received {
    my ($socket, $pattern, $bytes) = @_;
    $bytes = '' if !defined $bytes;
    my $deadline = time + 10;
    my $select   = IO::Select->new($socket);
    while (!defined $pattern || $bytes !~ $pattern) {
        my $left = $deadline - time;
        return "$bytes(deadline)" if $left <= 0 || !$select->can_read($left);
        last if !sysread $socket, $bytes, 65_536, length $bytes;
    }
    return $bytes;
}

# Splits a response into its status line, its header lines, and its body.
sub parts {
    my $response = shift;
    my ($head, $body) = split /\r\n\r\n/, $response, 2;
    my ($status, @fields) = split /\r\n/, $head;
    return ($status, join("\n", map { lc } @fields), $body);
}

# Decodes chunks: RFC 9112, section 7.1, without extensions, trailers and leading zeros, which nobody sends here. Returns the
# body, and what follows the last whole chunk: "end" after the last chunk.
sub decoded {
    my $chunks = shift;
    my $body   = '';
    while ($chunks =~ s/\A([1-9a-f][0-9a-f]*)\r\n//) {
        my $size = hex $1;
        return ($body, 'no chunk') if length $chunks < $size + 2 || substr($chunks, $size, 2) ne "\r\n";
        $body .= substr $chunks, 0, $size;
        substr $chunks, 0, $size + 2, '';
    }
    return ($body, $chunks eq "0\r\n\r\n" ? 'end' : $chunks);
}

sub is_chunked_ok {
    my ($response, $text, $rest, $name) = @_;
    my ($status, $fields, $body) = parts($response);
    is $status, 'HTTP/1.1 200 OK', "$name: the status line says HTTP/1.1";
    is(() = $fields =~ /^transfer-encoding: chunked$/mg, 1, "$name: the head says chunked, once");
    like $fields, qr/^connection: close$/m, "$name: the connection ends with the response" if $says_close;
    is_deeply [decoded($body)], [$text, $rest], "$name: the body is in whole chunks";
    return;
}

sub is_plain_ok {
    my ($response, $text,   $name) = @_;
    my ($status,   $fields, $body) = parts($response);
    unlike $fields, qr/^transfer-encoding:/m, "$name: the head says nothing of chunks";
    like $fields,   qr/^connection: close$/m, "$name: the connection ends with the response" if $says_close;
    is $body, $text, "$name: the body has no chunks";
    return;
}

my $RETRY = "retry: 1000\r\n";
my %TEXT  = (
    '/pushes'  => $RETRY . join('', map { "data: $_\r\n\r\n" } 'one', 'x' x 70_000, 'three'),
    '/empties' => "${RETRY}data: one\r\n\r\ndata: \r\n\r\ndata: two\r\n\r\n",
);

sub follows_hub {
    my $server = shift;
    my %client = map { ($_ => request($server, '/hub', $_)) } '1.0', '1.1';
    my %begun  = map { ($_ => received($client{$_}, qr/\nid: /)) } keys %client;
    like received(request($server, '/publish?end', '1.0')), qr/ok\z/, 'the event is published';
    my ($old, $new) = map { received($client{$_}, undef, $begun{$_}) } '1.0', '1.1';
    my ($text, $rest) = decoded((parts($new))[2]);
    like $text, qr/^data: published$/m, 'the event of a hub arrives in chunks';
    is $rest, 'end', 'the last chunk follows';
    like $new, qr{\AHTTP/1\.1 200 OK\r\n.*^Transfer-Encoding: chunked\r$}ms, 'the head of a hub stream says chunked';
    like((parts($old))[2], qr/^data: published$/m, 'the event of a hub arrives without chunks');
    unlike $old, qr/^[0-9a-f]+\r$/m, 'HTTP/1.0 has no chunks';
    return;
}

for my $name (@SERVERS) {
    subtest $name => sub {
        $says_close = $name ne 'Feersum';
        my $server = Testing::Server->start($name, 't/data/chunks.psgi', workers => 1);
        for my $path (sort keys %TEXT) {
            is_chunked_ok(received(request($server, $path, '1.1')), $TEXT{$path}, 'end', $path);
            is_plain_ok(received(request($server, $path, '1.0')), $TEXT{$path}, "$path over HTTP/1.0");
        }
        my $one = "${RETRY}data: one\r\n\r\n";
        is_chunked_ok(received(request($server, '/dies', '1.1')),
            $one, '', 'a handler that dies, without the last chunk');
        is_plain_ok(received(request($server, '/length', '1.1')), $one, 'a stream with Content-Length')
            if $name ne 'Feersum';    # it removes Content-Length
        follows_hub($server);
        my $socket = request($server, '/held', '1.1');
        my $begun  = received($socket, qr/data: one/);
        if   ($name eq 'uWSGI') { $server->stop }                      # an exit there is an exception
        else                    { request($server, '/exit', '1.0') }
        my ($text, $rest) = decoded((parts(received($socket, undef, $begun)))[2]);
        like $text, qr/\A\Q$one\Eretry: [0-9]+\r\n\z/, 'a stream that the server ends is told when to reconnect';
        is $rest, 'end', 'the last chunk follows';
    };
}

done_testing;
