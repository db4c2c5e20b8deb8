# Attack: an id that no client can send back. A browser sends the last id as the header Last-Event-ID. Servers respond with
# 400 to a header with a control character, and an EventSource then gives up for good. Servers strip blanks at both ends,
# and the client loses events or receives a false gap. A publisher of such an id would cut off every subscriber, so hubs
# refuse it. Every id that they accept comes back and resumes, on every server.

use lib 't/lib';
use Testing qw(native);
use EventSource::Hub;
use EventSource::Server;
use Testing::Subscriber qw(blocks events);
use Testing::HubServer  ();
use JSON::PP            ();
use Testing::StreamPair;
use Plack::App::EventSource::Connection;
use Plack::App::EventSource::PubSub;
use Testing::RecordingHub qw(answer);
use Testing::Server;

my $CONTROL = 'id must not contain a control character other than TAB';
my $BLANK   = 'id must not begin or end with a space or TAB';
my $LONG    = 'id must have at most 1024 bytes in UTF-8';

# Refused ids, and the reason. CR, LF and NUL are refused in any stream.
my @REFUSED = (
    ['the empty id' => '', 'id must not be empty'],
    (map { [sprintf('U+%04X within',     $_) => 'a' . chr($_) . 'b', $CONTROL] } 1 .. 8, 11, 12, 14 .. 31, 127),
    (map { [sprintf('U+%04X first',      $_) => chr($_) . 'b',       $CONTROL] } 1,      31, 127),
    (map { [sprintf('U+%04X last',       $_) => 'a' . chr $_,        $CONTROL] } 1,      31, 127),
    (map { [sprintf('U+%04X and U+0100', $_) => chr($_) . "\x{100}", $CONTROL] } 1,      127),
    ['a space first'                 => ' a',       $BLANK],
    ['a space last'                  => 'a ',       $BLANK],
    ['a TAB first'                   => "\ta",      $BLANK],
    ['a TAB last'                    => "a\t",      $BLANK],
    ['a space alone'                 => ' ',        $BLANK],
    ['a TAB alone'                   => "\t",       $BLANK],
    ['1,025 bytes'                   => 'x' x 1025, $LONG],
    ['1,026 bytes in 513 characters' => 'é' x 513,  $LONG],
    ['1,026 bytes in 342 characters' => '☺' x 342,  $LONG],
);
my @REFUSED_EVERYWHERE = map { [sprintf('U+%04X', $_) => 'a' . chr($_) . 'b', 'id must not contain'] } 0, 10, 13;

# Accepted ids. Their bytes in UTF-8 come back.
my @TAKEN = (
    ['one character'                        => 'a'],
    ['0'                                    => '0'],
    ['a space within'                       => 'a b'],
    ['two spaces within'                    => 'a  b'],
    ['a TAB within'                         => "a\tb"],
    ['a colon first'                        => ':a'],
    ['a colon and a space'                  => 'a: b'],
    ['colons alone'                         => '::'],
    ['separators'                           => 'a,b;c=d&e'],
    ['quotes and backslashes'               => q("a"\\'b'\\)],
    ['percent signs and pluses'             => '%00%41+%'],
    ['all of ASCII that shows'              => join('', map { chr } 33 .. 126)],
    ['letters of Latin 1'                   => 'größe'],
    ['U+0080'                               => "a\x{80}b"],
    ['U+0085, a line break elsewhere'       => "\x{85}"],
    ['U+009F'                               => "\x{9F}a\x{9F}"],
    ['U+00A0, which is not a blank of HTTP' => "\x{A0}"],
    ['U+00AD, which does not show'          => "\x{AD}"],
    ['U+2028 and U+2029'                    => "\x{2028}\x{2029}"],
    ['U+3000 first and last'                => "\x{3000}a\x{3000}"],
    ['U+FEFF, a byte order mark'            => "\x{FEFF}a"],
    ['U+FFFD'                               => "\x{FFFD}"],
    ['U+1F600'                              => "\x{1F600}"],
    ['U+10FFFF'                             => "\x{10FFFF}"],
    ['1,024 bytes'                          => 'x' x 1024],
    ['1,024 bytes in 512 characters'        => 'é' x 512],
    ['1,024 bytes in 256 characters'        => "\x{1F600}" x 256],
);

sub utf8_of { my $text = shift; utf8::encode($text); return $text }

# Returns both of perl's representations of a string.
sub held {
    my $id = shift;
    my ($down, $up) = ($id, $id);
    utf8::downgrade($down, 1);
    utf8::upgrade($up);
    return ($down, $up);
}

sub croaks_here {
    my ($code, $why, $what) = @_;
    my $done    = eval { $code->(); 1 };
    my $refused = !$done && $@ =~ /\AEventSource::(?:Hub|XS): \Q$why\E.* at [^\n]*ids\.t line [0-9]+\.\n\z/;
    return ok($refused, $what) || diag($done ? 'it was taken' : $@);
}

subtest 'publish refuses an id that cannot come back' => sub {
    my $hub    = EventSource::Hub->new;
    my $reader = Testing::Subscriber->open($hub, 'a');
    for my $row (@REFUSED, @REFUSED_EVERYWHERE) {
        my ($what, $id, $why) = @$row;
        croaks_here(sub { $hub->publish(a => {id => $_, data => 'x'}) }, $why, $what) for held($id);
        croaks_here(sub { $hub->publish(a => {id => utf8_of($id), data => 'x', bytes => 1}) }, $why, "$what, as bytes");
    }
    is $hub->stats->{published}, 0, 'no event with a refused id is published';
    $hub->publish(a => 'last');
    is_deeply [$reader->data(1)], ['last'], 'no event with a refused id is sent';
};

subtest 'emit of an EventSource::Server refuses an id that cannot come back' => sub {
    my $es = EventSource::Server->new;
    for my $row (@REFUSED, @REFUSED_EVERYWHERE) {
        croaks_here(sub { $es->emit({id => $row->[1], data => 'x'}) }, $row->[2], $row->[0]);
    }
    is $es->hub->stats->{published}, 0, 'no event with a refused id is published';
};

subtest 'PubSub responds with 400 to an id that cannot come back' => sub {
    my $hub  = EventSource::Hub->new;
    my $app  = Plack::App::EventSource::PubSub->new(hub => $hub, authorize => sub { 1 })->to_app;
    my @json = ('Content-Type' => 'application/json');
    for my $row (@REFUSED, @REFUSED_EVERYWHERE) {
        my ($what, $id, $why) = @$row;
        my $body     = JSON::PP->new->ascii->encode({id => $id, data => 'x'});
        my $response = answer($app, POST => '/news', headers => \@json, content => $body);
        is $response->code, 400, "$what: 400";
        like $response->content, qr/\A\Q$why\E[^\r\n]*\n\z/, "$what: the body is the reason in one line";
    }
    is $hub->stats->{published}, 0, 'no event with a refused id is published';
};

subtest 'push to a stream of a hub refuses an id that cannot come back' => sub {
    my $hub    = EventSource::Hub->new;
    my $reader = Testing::Subscriber->open($hub, 'a');
    for my $characters (0, 1) {
        local $reader->conn->{characters} = $characters;
        for my $row (@REFUSED) {
            my ($what, $id, $why) = @$row;
            croaks_here(sub { $reader->conn->push({id => $_, data => 'x'}) },          $why, $what) for held($id);
            croaks_here(sub { $reader->conn->push('x', {id => 'good'}, {id => $id}) }, $why, "$what, the second id");
        }
    }
    ok $reader->conn->push('last'), 'the stream is open';
    is_deeply [$reader->data(1)], ['last'], 'no event with a refused id is sent';
};

subtest 'push to a stream without a hub accepts any id' => sub {
    my ($stream, $client) = Testing::StreamPair->open;
    my $conn = Plack::App::EventSource::Connection->new(stream => $stream);
    ok $conn->push({id => $_->[1]}), $_->[0] for @REFUSED;
    $conn->close;
    ok $client->read_all, 'the stream ends';
    is $client->body, join('', map { 'id: ' . utf8_of($_->[1]) . "\r\n\r\n" } @REFUSED), 'every id is sent';
};

# Publishes or pushes an event with an id on a server. Returns what that returned or died of.
sub tried {
    my ($server, $id, %query) = @_;
    my ($unit, $times) = $id =~ /\A(.)\1+\z/s ? ($1, length $id) : ($id, 1);
    return $server->ask('/try', id => utf8_of($unit), times => $times, %query);
}

# Returns the first event of a client that resumes after an id.
sub first_after {
    my ($server, $id) = @_;
    my $client = $server->stream('/hub', channels => 'a', id => $id);
    $client->read_until(qr/^data: .*\n(?:.+\n)*\n/m);
    my ($first) = events($client->text);
    $client->leave;
    return $first;
}

sub test_server {
    my ($name, $native) = @_;
    my $server = Testing::HubServer->start($name, native => $native);
    my $stream = $server->stream('/held', name => 's', channels => 'a');
    my ($epoch, @sent) = $server->stats->{epoch};
    for my $row (@TAKEN) {
        my ($what, $id) = map { utf8_of($_) } @$row;
        is tried($server, $row->[1], channel => 'a', data => $what), 'taken', "$row->[0] is published";
        push @sent, {id => $id, data => $what};
    }
    push @sent, {id => $server->ask('/event', channel => 'a', data => 'last'), data => 'last'};
    for my $at (0 .. $#TAKEN) {
        my $number = $at + 1;
        is_deeply first_after($server, "$epoch-$number"), $sent[$number], "after $TAKEN[$at][0] a client resumes";
        is first_after($server, $sent[$at]{id})->{data}, '{"reason":"unknown"}', "$TAKEN[$at][0] comes back: a gap";
    }

    for my $row (@REFUSED) {
        my ($what, $id, $why) = @$row;
        like tried($server, $id, name => 's', data => 'refused'), qr/\AEventSource::Hub: \Q$why\E/,
            "push refuses $what";
    }
    for my $row (@TAKEN) {
        is tried($server, $row->[1], name => 's', data => 'pushed'), 'taken', "push accepts $row->[0]";
    }
    $server->ask('/event', channel => 'a', data => 'end');
    ok $stream->read_until(qr/^data: end\r?\n/m), 'the stream stays open';
    my @pushed = map { {id => utf8_of($_->[1]), data => 'pushed'} } @TAKEN;
    is_deeply [grep { $_->{data} ne 'end' } events($stream->text)], [@sent, @pushed],
        'the stream has every accepted event with its id, and nothing else';
    return;
}

for my $row (
    (map { [$_, 'auto'] } Testing::Server->names),
    map { [$_, 0] }
    Testing::Server->tested(qw(Twiggy Feersum))    # a server that blocks is busy with a stream that is not native
) {
    my ($name, $native) = @$row;
    subtest "$name, native => $native" => sub {
        Testing::Server->require_or_skip_all($name);
        test_server($name, $native);
    };
}

done_testing;
