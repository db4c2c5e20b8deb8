# The diagnostics of a failed test of Test::EventSource.

use lib 't/lib';
use Testing;
use File::Temp                 ();
use Testing::ControlledProcess qw(output_of);

# The output of a test that runs as a program of its own. Its code begins at line 1.
sub said_by {
    my $code  = shift;
    my $begin = <<'BEGIN';
use strict; use warnings; use Test::More; use Test::EventSource qw(ends_ok like_event members_are no_event);
my @kept;
my $es = Test::EventSource->new(timeout => 0.2, app => sub {
    my $env = shift;
    return [404, ['Content-Type', 'text/plain'], ["no such\x01page\xC3\xA9"]] if $env->{PATH_INFO} eq '/none';
    return sub {
        my $writer = $_[0]->([200, ['Content-Type', 'text/event-stream']]);
        $writer->write("id: 1\r\nevent: tick\r\ndata: caf\xC3\xA9\r\n\r\n") if $env->{PATH_INFO} ne '/empty';
        $writer->write('data: {"a":[1,{"b":2}],"c":null}' . "\n\n") if $env->{PATH_INFO} eq '/json';
        $writer->write(qq(data: {"item":"$_","left":1}\n\n)) for $env->{PATH_INFO} eq '/state' ? qw(a b) : ();
        $writer->write(qq(event: join\ndata: {"id":"$_"}\n\n)) for $env->{PATH_INFO} eq '/members' ? qw(a b) : ();
        $env->{'psgi.errors'}->print("printed\n") if $env->{QUERY_STRING} eq 'print';
        $writer->close if $env->{QUERY_STRING} eq 'close';
        push @kept, $writer;
    };
});
BEGIN
    my $file = File::Temp->new(SUFFIX => '.t');
    print {$file} "$begin#line 1 \"x.t\"\n$code\ndone_testing;\n";
    close $file;
    my (undef, $text) = output_of($^X, '-Mblib', $file->filename);
    $text =~ s/^Using .*blib\n//mg;
    $text =~ s/\s*# Looks like you failed.*//s;
    return $text;
}

my $STREAM = 'GET /, 200 text/event-stream';
my $BYTES  = <<'BYTES' =~ s/\n\z//r;
#   id: 1\r\n
#   event: tick\r\n
#   data: caf\xC3\xA9\r\n
#   \r\n
BYTES

for my $case (
    [
        'a different event shows each field that differs',
        q~$es->get('/')->like_event({event => 'tock', id => 1, data => qr/^tea/}, 'a tock');~,
        <<"SAID"
not ok 1 - a tock
#   Failed test 'a tock'
#   at x.t line 1.
# data
#      got: 'caf\\xE9'
# expected: a match of (?^:^tea)
# event
#      got: 'tick'
# expected: 'tock'
# $STREAM, is open. Received 35 bytes:
$BYTES
1..1
SAID
    ],
    [
        'a timeout shows the time and the bytes received',
        q~my $s = $es->get('/'); $s->next_event;
          like_event($s, 'x');~,
        <<"SAID"
not ok 1 - the next event
#   Failed test 'the next event'
#   at x.t line 2.
# No event received in 0.2 seconds.
# $STREAM, is open. Received 35 bytes:
$BYTES
1..1
SAID
    ],
    [
        'an ended stream without an event says that it has ended',
        q~my $s = $es->get('/empty?close'); $s->like_event('x', 'x');~,
        <<'SAID'
not ok 1 - x
#   Failed test 'x'
#   at x.t line 1.
# No event received: the stream has ended.
# GET /empty?close, 200 text/event-stream, has ended. Received 0 bytes:
1..1
SAID
    ],
    [
        'a response that is not an event stream shows its status and body',
        q~my $s = $es->get('/none'); $s->like_event('x', 'x');~,
        <<'SAID'
not ok 1 - x
#   Failed test 'x'
#   at x.t line 1.
# No event received: the response is not an event stream.
# GET /none, 404 text/plain, has ended. Received 14 bytes:
#   no such\x01page\xC3\xA9
1..1
SAID
    ],
    [
        'JSON that differs shows the path of the first difference',
        q~my $s = $es->get('/json'); $s->next_event; $s->like_event({json => {a => [1, {b => 3}], c => undef}});~,
        <<"SAID"
not ok 1 - the next event
#   Failed test 'the next event'
#   at x.t line 1.
# json{a}[1]{b}
#      got: 2
# expected: 3
# GET /json, 200 text/event-stream, is open. Received 69 bytes:
$BYTES
#   data: {"a":[1,{"b":2}],"c":null}\\n
#   \\n
1..1
SAID
    ],
    [
        'a state that differs shows each key, and that it is not complete',
        q~my $s = $es->get('/state', state => {key => 'item'});
          $s->state_is({a => {json => {item => 'a', left => 2}}, c => 'x'}, 'the stock');~,
        <<"SAID"
not ok 1 - the stock
#   Failed test 'the stock'
#   at x.t line 2.
# 'a': json{left}
#      got: 1
# expected: 2
# 'b' should not be there: event 'message', data '{"item":"b","left":1}', id '1'
# 'c' is missing
# The state is not complete: no position has come.
# GET /state, 200 text/event-stream, is open. Received 93 bytes:
$BYTES
#   data: {"item":"a","left":1}\\n
#   \\n
#   data: {"item":"b","left":1}\\n
#   \\n
1..1
SAID
    ],
    [
        'members that differ are shown',
        q~my $s = $es->get('/members', members => 1, position_event => undef);
          members_are($s, {a => {name => 'A'}, c => {}});~,
        qr/\Anot ok 1 - the members
#   Failed test 'the members'
#   at x.t line 2.
# 'a': json\{name\}
#      got: nothing
# expected: "A"
# 'b' should not be there: event 'join', data '\{"id":"b"\}', id '1'
# 'c' is missing
# GET \/members/
    ],
    [
        'members of a hub that differ are shown',
        q~use EventSource::Hub; my $hub = EventSource::Hub->new;
          my $app = $hub->to_app(channels => sub { 'x' }, member => sub { {id => 'a', channel => 'room'} });
          my $s = Test::EventSource->new(app => $app)->get('/');
          members_are($hub, 'room', ['b']);~,
        qr/\Anot ok 1 - the members of room
#   Failed test 'the members of room'
#   at x.t line 4.
# 'a' should not be there: event 'join', data '\{"id":"a"\}', id ''
# 'b' is missing\n/
    ],
    [
        'JSON that lacks a member shows "nothing"',
        q~my $s = $es->get('/json'); $s->next_event; $s->like_event({json => {a => [1, {b => 2}, 3], c => undef}});~,
        qr/^# json\{a\}\[2\]\n#      got: nothing\n# expected: 3\n/m
    ],
    [
        'data that is not JSON is shown',
        q~$es->get('/')->like_event({json => {}});~,
        qr/^# data is not JSON: 'caf\\xE9'\n/m
    ],
    [
        'no_event as a function shows the event that was received',
        q~
          no_event($es->get('/'), 0.1, 'silence');~,
        <<"SAID"
not ok 1 - silence
#   Failed test 'silence'
#   at x.t line 2.
# Received event 'tick', data 'caf\\xE9', id '1'
# $STREAM, is open. Received 35 bytes:
$BYTES
1..1
SAID
    ],
    [
        'ends_ok shows that the stream has not ended',
        q~ends_ok($es->get('/'), 0.1, 'an end');~,
        <<"SAID"
not ok 1 - an end
#   Failed test 'an end'
#   at x.t line 1.
# It has not ended in 0.1 seconds.
# $STREAM, is open. Received 35 bytes:
$BYTES
1..1
SAID
    ],
    [
        'a failure shows what the application has printed, once',
        q~my $s = $es->get('/?print'); $s->ends_ok(0.1); ok 1; fail 'again';~,
        qr/^#   \\r\\n\n# The server printed:\n# printed\nok 2\nnot ok 3 - again\n#   Failed test 'again'\n#   at x.t line 1.\n1\.\.3\n?\z/m
    ],
    [
        'what the application has printed is shown if another test fails',
        q~my $s = $es->get('/?print'); fail 'x';~,
        qr/^1\.\.1\n# The application printed:\n# printed/m
    ],
    [
        '$Test::Builder::Level moves the reported line',
        q~sub mine { local $Test::Builder::Level = $Test::Builder::Level + 1; return $_[0]->like_event('no', 'mine') }
          mine($es->get('/'));~,
        qr/^#   at x\.t line 2\.$/m
    ],
    [
        "an invalid expectation dies at the caller's line",
        q~my $s = $es->get('/');
          eval { $s->like_event({name => 'x'}) }; print $@;
          eval { like_event($s, {data => ['x']}) }; print $@;~,
        qr/\ATest::EventSource: an event has no 'name', only data, event, id and json at x\.t line 2\.
Test::EventSource: the expected data must be a string or a regular expression at x\.t line 3\.$/m
    ],
    [
        'tests that pass print no diagnostics',
        q~my $s = $es->get('/json?close'); like_event($s, {data => qr/^caf\x{E9}$/, event => 'tick', id => qr/1/}, 'a');
          $s->like_event({json => {a => [1, {b => 2}], c => undef}}); $s->no_event(0.1, 'c'); ends_ok($s, 1, 'd');~,
        "ok 1 - a\nok 2 - the next event\nok 3 - c\nok 4 - d\n1..4\n"
    ],
) {
    my ($name, $code, $want) = @$case;
    my $said = said_by($code);
    $said =~ s/^#\n|^\n//mg;
    if (ref $want) { like $said, $want, $name }
    else           { is $said =~ s/\n?\z/\n/r, $want, $name }
}

done_testing;
