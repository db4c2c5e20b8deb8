# A client sends several requests in one write and leaves. After the takeover of the first stream, a server that reads ahead
# runs the next request without its client: that request must end at once and leave nothing open.

use lib 't/lib';
use Testing;
use Testing::AttackedServer qw(on_each_server);

my @STREAMS =
    qw(/native /must-be-native /writer /hub /hub-on-writer /follow /follow-on-writer /conditional /behind-a-proxy);

sub request {
    my ($method, $path, $tag) = @_;
    my $length = $method eq 'POST' ? "Content-Length: 5\r\n" : '';
    return "$method $path?tag=$tag HTTP/1.1\r\nHost: a\r\n$length\r\n" . ($length ? 'a=b&c' : '');
}

# The requests that are sent in one write: methods and paths. `stream` stands for a stream's path.
my %PIPELINE = (
    'a stream behind a stream'               => [[GET => 'stream'], [GET => 'stream']],
    'ten streams'                            => [map { [GET => 'stream'] } 1 .. 10],
    'an ordinary request behind a stream'    => [[GET => 'stream'], [GET => '/plain']],
    'a HEAD behind a stream, then a stream'  => [[GET => 'stream'], [HEAD => 'stream'], [GET => 'stream']],
    'a POST behind a stream, then a stream'  => [[GET => 'stream'], [POST => '/plain'], [GET => 'stream']],
    'a POST before two streams'              => [[POST => '/plain'], [GET => 'stream'], [GET => 'stream']],
    'an ordinary request before two streams' => [[GET => '/plain'], [GET => 'stream'], [GET => 'stream']],
);

my $attacks = 0;

sub pipeline {
    my ($what, $path) = @_;
    my $tag    = 'attack' . ++$attacks;
    my $number = 0;
    return ($tag, join '',
        map { request($_->[0], $_->[1] eq 'stream' ? $path : $_->[1], "$tag." . ++$number) } @{$PIPELINE{$what}});
}

# Leaves without reading, more clients than there are workers; then one that first reads an event.
sub pipeline_is_harmless {
    my ($server, $path) = @_;
    for my $what (sort keys %PIPELINE) {
        for (0 .. $server->{count}) {
            my ($tag, $bytes) = pipeline($what, $path);
            $server->attack($bytes);
        }
        $server->is_sound_ok("$what, not read") or return;
        next if $what =~ /before/;
        my ($tag, $bytes) = pipeline($what, $path);
        $server->attack($bytes, qr/^(?:data|id): /m);
        $server->is_sound_ok("$what, one event read") or return;
    }
    return;
}

# Only the first request still has its client.
sub only_first_is_handled {
    my $server = shift;
    for my $path ('/native', '/must-be-native', '/follow') {
        my ($tag, $bytes) = pipeline('ten streams', $path);
        $server->attack($bytes, qr/^(?:data|id): /m);
        $server->is_sound_ok("$path, ten times");
        like $server->reported("$tag.1"), qr/\Ahandled, native: 1$/m, "$path: the handler runs for the first request";
        is join('', map { $server->reported("$tag.$_") } 2 .. 10), '', "$path: the handler runs for no other request";
    }
    return;
}

# The request behind a stream gets no response, and none of its bytes reach the stream.
sub responses_are_separate {
    my $server = shift;
    my $client = $server->get('/native', then => request(GET => '/plain', 'behind'));
    ok $client->read_until(qr/^data: held/m), 'a stream with an ordinary request behind it begins';
    $server->states;
    ok $client->read_until(qr/^:\r\n/m), 'a stream with an ordinary request behind it receives keepalives';
    unlike $client->text, qr/plain/, 'the stream does not contain the other response';
    $client->leave;
    return $server->is_sound_ok('an ordinary request behind a stream that stays');
}

on_each_server sub {
    my $server = shift;
    $server->prepare(@STREAMS);
    $server->case("pipelined requests for $_", sub { pipeline_is_harmless($server, $_) }) for @STREAMS;
    $server->case('the handler runs for the first request only', sub { only_first_is_handled($server) });
    $server->case('responses are not mixed',                     sub { responses_are_separate($server) });
    unlike $server->log, qr/cannot be native|uninitialized|Can't call/, 'the server reports no error';
};

done_testing;
