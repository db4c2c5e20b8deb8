# share/eventsource-hub.js in Node, where a stream is not shared: which requests it sends after which answers, and what the
# application gets, also where the bundle that reads streams comes late. All streams run at the same time.

use lib 't/lib';
use Testing;
use Digest::SHA            qw(sha1_hex);
use Fcntl                  qw(O_CREAT O_EXCL O_WRONLY);
use File::Copy             qw(copy);
use File::Path             qw(make_path);
use HTTP::Date             qw(str2time time2str);
use IO::Select             ();
use JSON::MaybeXS          ();
use Testing::Developer     qw(needs_command);
use Testing::HostileServer qw(hostile_server);
use Testing::Node          qw(run_script);
use Testing::SourceTree    qw(slurp write_file);
use Time::HiRes            qw(time);

needs_command('node');

my ($FALSE, $TRUE) = (JSON::MaybeXS::false(), JSON::MaybeXS::true());
my $LONG   = 10_000_000;     # bytes of a long line
my $MANY   = 1_000;          # events of 64 KB
my $BLOCK  = 'x' x 65_536;
my $STALLS = 2;              # seconds without room in the socket

my $OK     = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
my $STREAM = "${OK}Connection: close\r\n\r\n";
my $END    = "id: eventsource-finished\nevent: finish\ndata: end\n\n";
my $ONE    = "${STREAM}retry: 1\nid: 1\ndata: one\n\n";
my $TWO    = "${STREAM}data: two\n\n$END";

my @AGAIN = (408, 425, 429, 500, 502 .. 504, 599);
my @FINAL = (204, 400, 401, 403 .. 405, 410, 451);

my $folder = new_folder;

# What the server does with a socket, beside sending bytes. Each gets the socket, the head of the request and the number of the
# case.

# Sends bytes, and notes when the client has left.
sub stay {
    my $bytes = shift;
    return sub {
        my ($socket, undef, $number) = @_;
        print {$socket} $bytes;
        sysread $socket, my $rest, 1;
        note_state($number, 'left');
    };
}

# Sends an event, and then nothing more to a client without a last event ID.
sub fall_silent {
    my ($socket, $head) = @_;
    return print {$socket} $TWO if $head =~ /^last-event-id: 1\r$/mi;
    print        {$socket} $ONE;
    sysread $socket, my $rest, 1;
    return;
}

# Ends a stream, and notes the time before which there should be no other request.
sub end_with_retry {
    my $retry = shift;
    return sub {
        my ($socket, undef, $number) = @_;
        print {$socket} $ONE =~ s/retry: 1/retry: $retry/r;
        note_state($number, time + $retry / 1000);
    };
}

# Sends what the request was.
sub mirror {
    my ($socket, $head) = @_;
    my ($length) = $head =~ /^content-length: ([0-9]+)/mi;
    read $socket, my $body, $length || 0;
    my ($method, $own) = ($head =~ /\A(\S+)/, $head =~ /^x-own: (.*)\r$/mi);
    print {$socket} "${STREAM}data: $method $own $body\n\n$END";
    return;
}

# Refuses, and notes the time before which there should be no other request.
sub refuse_until {
    my ($field, $seconds) = @_;
    return sub {
        my ($socket, undef, $number) = @_;
        my $until = time + $seconds;
        my $value = $field eq 'date' ? time2str($until) : $seconds;
        note_state($number, $field eq 'date' ? str2time($value) : $until);
        print {$socket} refusal(503, "Retry-After: $value\r\n");
    };
}

# Sends many events, and notes after how many the client reads no more.
sub flood {
    my ($socket, undef, $number) = @_;
    my ($room, $noted) = IO::Select->new($socket);
    print {$socket} $STREAM;
    for my $event (1 .. $MANY) {
        note_state($number, $noted = $event) if !$noted && !$room->can_write($STALLS);
        print {$socket} "data: $event $BLOCK\n\n";
    }
    note_state($number, $MANY) if !$noted;
    print {$socket} $END;
    return;
}

sub note_state {
    my ($number, $text) = @_;
    write_file("$folder/$number.new", $text);
    rename "$folder/$number.new" => "$folder/$number.state" or die "$folder: $!\n";
    return;
}

sub refusal { return "HTTP/1.1 $_[0] \r\nContent-Length: 2\r\nConnection: close\r\n" . ($_[1] // '') . "\r\nno" }

sub chunked {
    return "${OK}Transfer-Encoding: chunked\r\n\r\n" . join '', map { sprintf "%x\r\n%s\r\n", length, $_ } @_;
}

# Each case: its name; the answers to its requests, the last one for all others; the data of the events, and the statuses of
# the errors, 0 for an error without one. Then: ids, the last event IDs of the requests, if there is more than one; does, how
# the stream is read (fetch.mjs); seen, what else it gave. Others are options of connect.
my @CASES = (
    (map { ["$_ is asked again" => [refusal($_), $TWO], 'two end', $_, ids => [undef, undef]] } @AGAIN),
    (map { ["$_ is final" => [refusal($_)], '', $_] } @FINAL),
    (
        map { ["$_->[0] is asked again" => [$_->[1], $TWO], 'two end', $_->[2], ids => [undef, undef]] }
            ['the page of a proxy' => refusal(502, "Content-Type: text/html\r\n"), '502'],
        ['a page with status 200' => "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\ndata: page\n\n", '200'],
        ['a stream of no type'    => "HTTP/1.1 200 OK\r\n\r\ndata: page\n\n",                            '200'],
        ['no answer'              => '',                                                                 '0'],
        ['half of a head'         => 'HTTP/1.1 200 O',                                                   '0'],
        ['an empty stream'        => $STREAM,                                                            '0'],
    ),
    [
        'a type with parameters' => ["HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\n\r\n$END"],
        'end', ''
    ],
    [
        'a redirect is followed' => ["HTTP/1.1 302 Found\r\nLocation: ?moved\r\nContent-Length: 0\r\n\r\n", $TWO],
        'two end', '', ids => [undef, undef]
    ],

    (
        map {
            [
                "Retry-After: $_" => [refusal(429, "Retry-After: $_\r\n"), $TWO],
                'two end', '429', ids => [undef, undef]
            ]
        } 0,
        -1,
        'soon'
    ),
    [
        'Retry-After in seconds' => [refuse_until(seconds => 2), $TWO],
        'two end',
        '503',
        ids        => [undef, undef],
        not_before => 1
    ],
    [
        'Retry-After as a date' => [refuse_until(date => 3), $TWO],
        'two end',
        '503',
        ids        => [undef, undef],
        not_before => 1
    ],
    ['Retry-After of ages' => [refusal(429, "Retry-After: 99999999999\r\n")], '', '429', does => 'error', state => 0],

    ['finish is final' => ["$STREAM${END}data: lost\n\n"], 'end', ''],
    ['a stream that has ended' => [$ONE, $TWO], 'one two end', '0', ids => [undef, 1]],
    [
        'a stream that is cut' => [chunked("retry: 1\nid: 1\ndata: one\n\nid: 2\ndata: half\n"), $TWO],
        'one two end', '0', ids => [undef, 1]
    ],
    [
        'an id of other characters' => [$ONE =~ s/id: 1/id: \xC3\xA9\xE2\x98\xBA/r, $TWO],
        'one two end', '0', ids => [undef, "\xC3\xA9\xE2\x98\xBA"]
    ],
    ['an id that is taken back' => ["${ONE}id\n\n", $TWO], 'one two end', '0', ids => [undef, undef]],
    [
        'an id of a refusal before' => [$ONE, refusal(500), refusal(429), $TWO],
        'one two end', '0 500 429', ids => [undef, 1, 1, 1]
    ],
    ['the reconnection time' => [end_with_retry(1500), $TWO], 'one two end', '0',   ids => [undef, 1], not_before => 1],
    ['a silent stream is renewed' => [\&fall_silent],         'one two end', undef, ids => 1,          keepalive  => 1],

    ['a mark before the stream' => ["$STREAM\xEF\xBB\xBFdata: one\n\n$END"], 'one end', ''],
    [
        'characters that are cut' => [chunked(split(//, "data: \xE2\x98\xBA\xF0\x9F\x98\x80\n\n"), $END)],
        "\x{263A}\x{1F600} end", ''
    ],
    ["a line of $LONG bytes" => ["${STREAM}data: " . 'x' x $LONG . "\n\n$END"], sha1_hex('x' x $LONG) . ' end', ''],
    ['types' => ["${STREAM}event: named\ndata: a\n\nevent: other\ndata: b\n\ndata: c\n\n$END"], 'a c end',      ''],

    [
        'POST with a body' => [\&mirror],
        'POST yes {"a":1} end', '',
        method  => 'POST',
        headers => {'X-Own' => 'yes'},
        body    => '{"a":1}'
    ],
    [
        'QUERY with a body' => [\&mirror],
        'QUERY yes what end', '',
        method  => 'QUERY',
        headers => {'X-Own' => 'yes'},
        body    => 'what'
    ],
    [
        'headers for each attempt' => [refusal(503), \&mirror],
        'GET 2  end', '503',
        ids     => [undef, undef],
        headers => 'counted'
    ],
    ['an id to begin after'                 => [$TWO], 'two end',                 '',  ids => [7], lastEventId => '7'],
    ['a POST without ids is not sent again' => ["${STREAM}data: one\n\n"], 'one', '0', method => 'POST'],
    ['a POST with ids resumes'              => [$ONE, $TWO], 'one two end', '0', method => 'POST', ids => [undef, 1]],
    [
        'a POST that was refused is sent again' => [refusal(503), refusal(429), $TWO],
        'two end', '503 429',
        method => 'POST',
        ids    => [(undef) x 3]
    ],
    ['a POST that may have had its effect' => [refusal(502)], '', '502', method => 'POST'],

    [
        'close in a listener' => [stay("${STREAM}data: one\n\ndata: two\n\n")],
        'one', '',
        does => 'close',
        seen => {server => 'left'}
    ],
    [
        'an AbortSignal' => [stay("${STREAM}data: one\n\ndata: two\n\n")],
        'one', '',
        does => 'abort',
        seen => {server => 'left'}
    ],
    [
        'a loop' => [$ONE, $TWO],
        'one two end', '0',
        does => 'iterate',
        seen => {iterated => [qw(one two end)]},
        ids  => [undef, 1]
    ],
    [
        'a loop that is left' => [stay($ONE)],
        'one', '',
        does => 'leave',
        seen => {iterated => ['one'], server => 'left'}
    ],
    [
        'the interface of EventSource' => ["${ONE}event: named\ndata: x\n\n", $TWO],
        'one x two end',
        '0',
        does => 'standard',
        ids  => [undef, 1],
        seen => {
            called => ['open 1', 'message one', 'named', 'error 0', 'open 1', 'message two'],
            event  => [$TRUE,    $TRUE,         $TRUE,   '1'],
            values => [0,        1,             2,       0, $TRUE, $FALSE],
        }
    ],
    ['a loop that pauses' => [\&flood], '', '', does => 'pause', seen => {count => $MANY}],
);

sub case_of {
    my ($name, $answers, $events, $errors, %option) = @_;
    my %is = map { ($_ => delete $option{$_}) } qw(does ids not_before seen state);
    return {
        does  => 'closed',
        state => 2,
        ids   => [undef],
        (map { ($_ => $is{$_}) } grep { defined $is{$_} } keys %is),
        name    => $name,
        answers => $answers,
        events  => $events,
        errors  => $errors,
        options => \%option
    };
}

my @cases = map { case_of(@$_) } @CASES;

# Cases in which the bundle that reads streams does not come for the first request: it is asked for by another URL.
my %BUNDLE = (fails => 'throw "the bundle fails"', 'never comes' => 'await new Promise(() => {})');
my %number_without;
for my $what (sort keys %BUNDLE) {
    for my $case (grep { $_->{name} =~ /\A(?:a silent stream is renewed|a stream that has ended|500 is asked again)\z/ }
        @cases) {
        push @{$number_without{$what}}, scalar @cases;
        push @cases, {%$case, name => "$case->{name}, and the bundle that reads streams $what at first"};
    }
}

sub run_cases {
    return run_script(fetch => map { {url => $_[0]->url("/$_"), %{$cases[$_]}{qw(does options)}} } @_[1 .. $#_]);
}

# The same with another bundle that reads streams.
sub run_without {
    my ($server, $what) = @_;
    my $inc      = new_folder;
    my $share    = 'auto/share/dist/EventSource-XS';
    my ($script) = grep { -e } map { "$_/$share/eventsource-hub.js" } grep { !ref } @INC;
    make_path("$inc/$share");
    copy($script,                           "$inc/$share")         or die "$script: $!\n";
    copy($script =~ s/[.]js\z/-reader.js/r, "$inc/$share/real.js") or die "$script: $!\n";
    write_file("$inc/$share/eventsource-hub-reader.js",
        "if (!import.meta.url.includes('?')) $BUNDLE{$what};\nexport * from './real.js';\n");
    local @INC = ("$inc", @INC);
    return run_cases($server, @{$number_without{$what}});
}

# Options that fetch refuses, each time.
my @REFUSED = (
    ['a body with GET'                  => {body    => 'x'}],
    ['a method that is not a word'      => {method  => 'A B'}],
    ['a method that pages may not send' => {method  => 'TRACE'}],
    ['the name of a header'             => {headers => {'a b'   => 1}}],
    ['the value of a header'            => {headers => {'X-Own' => "\x{263A}"}}],
);

# The number of a request of a case, from 0 on, for which the time is noted.
sub request_of {
    my $case = shift;
    for my $number (0 .. 100) {
        sysopen my $file, "$folder/$case.at.$number", O_CREAT | O_EXCL | O_WRONLY or next;
        print {$file} time;
        return $number;
    }
    die "case $case: too many requests\n";
}

my $server = hostile_server sub {
    my ($socket, $head) = @_;
    local $SIG{PIPE} = 'IGNORE';
    my ($number, $asks) = $head =~ m{\A\w+ /([0-9]+)(-state)?};
    if ($asks) {
        my $said = -e "$folder/$number.state" ? slurp("$folder/$number.state") : '';
        print {$socket} "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n$said";
        return;
    }
    my $answers = $cases[$number]{answers};
    my $answer  = $answers->[request_of($number)] // $answers->[-1];
    return ref $answer ? $answer->($socket, $head, $number) : print {$socket} $answer;
};

my @seen    = (run_cases($server, 0 .. $#CASES), map { run_without($server, $_) } sort keys %BUNDLE);
my @refused = run_script(fetch => map { {url => $server->url('/refused'), options => $_->[1]} } @REFUSED);
my %ids;
for ($server->requests) { push @{$ids{$1}}, /^last-event-id: (.*)\r$/mi ? $1 : undef if m{\A\w+ /([0-9]+)(?:\?\w+)? } }
for my $number (0 .. $#cases) {
    my ($case, $seen) = ($cases[$number], $seen[$number]);
    subtest $case->{name} => sub {
        is join(' ', map { $_->{data} } @{$seen->{events}}), $case->{events}, 'the events';
        is join(' ', map { $_ // 0 } @{$seen->{errors}}),    $case->{errors}, 'the errors' if defined $case->{errors};
        my $ids =
            ref $case->{ids} ? $ids{$number} : $ids{$number}[-1];   # a loaded machine may renew a stream more than once
        is_deeply $ids, $case->{ids}, 'the requests, with their last event IDs' or diag explain $ids{$number};
        is $seen->{state}, $case->{state}, 'whether it is closed';
        ok !$seen->{isLate}, 'it is complete';
        is_deeply $seen->{$_}, $case->{seen}{$_}, $_ or diag explain $seen->{$_} for sort keys %{$case->{seen} || {}};
        cmp_ok slurp("$folder/$number.at.1"), '>', slurp("$folder/$number.state") - 0.01, 'it asks no earlier'
            if $case->{not_before};
        cmp_ok $seen->{server}, '<', $MANY / 2, 'it is not read while the loop pauses'
            if $case->{name} eq 'a loop that pauses';
    };
}

subtest 'connect throws at options that fetch refuses' => sub {
    is $refused[$_]{thrown},                    'TypeError', $REFUSED[$_][0] for 0 .. $#REFUSED;
    is grep({ m{/refused} } $server->requests), 0,           'nothing is asked';
};

done_testing;
