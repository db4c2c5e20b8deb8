# What an answer does, as a table: a server sends these bytes, each library does the same with them. What is no answer, or is
# cut, is asked for again; what is one is judged. Nothing of it is an exception in the application, or a warning, or reaches its
# handler of $SIG{__DIE__}.

use lib 't/lib';
use Testing;
use EventSource::Client;
use EventSource::XS::Client::Transport;
use Fcntl                  qw(O_CREAT O_EXCL O_WRONLY);
use File::Temp             ();
use IO::Compress::Gzip     qw(gzip);
use Testing::HostileServer qw(hostile_server);
use Testing::ReadingClient;
use Testing::SideBySide qw(run_each);

my $OK     = "HTTP/1.1 200 OK\r\n";
my $TYPE   = "Content-Type: text/event-stream\r\n";
my $STREAM = $OK . $TYPE;
my $CHUNKS = "${STREAM}Transfer-Encoding: chunked\r\n\r\n";
my $ONE    = "data: one\n\n";
my $ENDED  = [unavailable => qr/the stream has ended/];

sub chunk { return sprintf "%x\r\n%s\r\n", length $_[0], $_[0] }

sub gzipped {
    gzip(\$_[0] => \my $bytes);
    return $bytes;
}

sub moved { return "HTTP/1.1 302 Found\r\nLocation: $_[0]\r\nContent-Length: 0\r\n\r\n" }

# Each answer: its name, its bytes, the data of its events, the codes of its errors with what they say. Afterwards the server
# closes the connection; with stays it does not, because the client knows enough. With closes the client is closed; otherwise it
# asks again. Other options are the client's.
my @ANSWERS = (
    ['100 before', "HTTP/1.1 100 Continue\r\n\r\n$STREAM\r\n$ONE",               'one', $ENDED],
    ['102 before', "HTTP/1.1 102 Processing\r\n\r\n$STREAM\r\n$ONE",             'one', $ENDED],
    ['103 before', "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n$STREAM\r\n$ONE", 'one', $ENDED],
    ['several before', ("HTTP/1.1 103\r\n\r\n" x 5) . "$STREAM\r\n$ONE", 'one',  $ENDED],
    ['103 and no more', "HTTP/1.1 103 Early Hints\r\n\r\n",                      '', [unavailable => qr/./]],
    [
        '103 without an end',
        "HTTP/1.1 103 Early Hints\r\n\r\n" x 3000,
        '', [unavailable => qr/the head of the response does not end/],
        stays => 1
    ],
    [
        'a switch of protocols', "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n$ONE",
        '',                      [refused => qr/HTTP status 101 Switching/],
        stays  => 1,
        closes => 1
    ],

    ['no reason',             "HTTP/1.1 200 \r\n$TYPE\r\n$ONE",                                      'one', $ENDED],
    ['no reason, no blank',   "HTTP/1.1 200\r\n$TYPE\r\n$ONE",                                       'one', $ENDED],
    ['HTTP/1.0',              "HTTP/1.0 200 OK\r\n$TYPE\r\n$ONE",                                    'one', $ENDED],
    ['lines that end in LF',  "HTTP/1.1 200 OK\nContent-Type: text/event-stream\n\n$ONE",            'one', $ENDED],
    ['a line of 9,000 bytes', "${STREAM}X: " . ('x' x 9000) . "\r\n\r\n$ONE",                        'one', $ENDED],
    ['300 fields',            $STREAM . join('', map { "X-$_: x\r\n" } 1 .. 300) . "\r\n$ONE",       'one', $ENDED],
    ['a line in two',         "${OK}Content-Type: text/event-stream;\r\n charset=utf-8\r\n\r\n$ONE", 'one', $ENDED],
    [
        'a head of 100,000 bytes',
        $STREAM . ("X: x\r\n" x 17_000),
        '', [unavailable => qr/the head of the response does not end/],
        stays => 1
    ],
    ['nothing',            '',                          '', [unavailable => qr/./]],
    ['a head that is cut', "${OK}Content-Type: text/e", '', [unavailable => qr/the head of the response was cut/]],
    (
        map { ["no HTTP: $_->[0]", "$_->[1]\r\n$TYPE\r\n$ONE", '', [unavailable => $_->[2]], stays => 1] } (
            ['Icecast',                 'ICY 200 OK',       qr/this is not a response of HTTP: ICY 200 OK/],
            ['SMTP',                    "220 mail\e[2J",    qr/this is not a response of HTTP: 220 mail\\x1B\[2J/],
            ['HTTP/2',                  'HTTP/2 200',       qr/this is not a response of HTTP: HTTP\/2 200/],
            ['a status without digits', 'HTTP/1.1 OK',      qr/this is not a response of HTTP/],
            ['a status of 4 digits',    'HTTP/1.1 2000 OK', qr/this is not a response of HTTP/],
            ['a line without a colon',  "HTTP/1.1 200 OK\r\nwhat?",  qr/a line that is not a field: what\?/],
            ['a name with a blank',     "HTTP/1.1 200 OK\r\na b: c", qr/a line that is not a field/],
            ['a NUL',                   "HTTP/1.1 200 OK\r\nX: \0",  qr/has a NUL/],
        )
    ),

    ['a length',           "${STREAM}Content-Length: 11\r\n\r\n$ONE",                       'one', $ENDED, stays => 1],
    ['two equal lengths',  "${STREAM}Content-Length: 11\r\nContent-Length: 11\r\n\r\n$ONE", 'one', $ENDED, stays => 1],
    ['a length in a list', "${STREAM}Content-Length: 11, 11\r\n\r\n$ONE",                   'one', $ENDED, stays => 1],
    ['a length of 0',      "${STREAM}Content-Length: 0\r\n\r\n",                            '',    $ENDED, stays => 1],
    ['a body that is cut', "${STREAM}Content-Length: 12\r\n\r\n$ONE", 'one', [unavailable => qr/the stream was cut/]],
    (
        map {
            [
                "a length that is unclear: $_->[0]",
                "$STREAM$_->[1]\r\n\r\n$ONE",
                '',
                [unavailable => qr/length.*unclear/],
                stays => 1
            ]
        } (
            ['two lengths', "Content-Length: 11\r\nContent-Length: 12"],
            ['a word',      'Content-Length: eleven'],
            ['negative',    'Content-Length: -1'],
        )
    ),
    [
        'a length beside chunks',
        "${STREAM}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" . chunk($ONE),
        'one',
        [unavailable => qr/the stream was cut/]
    ],

    ['chunks',               $CHUNKS . chunk($ONE) . "0\r\n\r\n",                          'one', $ENDED, stays => 1],
    ['chunks and a trailer', $CHUNKS . chunk($ONE) . "0\r\nX: y\r\n\r\n",                  'one', $ENDED, stays => 1],
    ['CHUNKED', "${STREAM}transfer-encoding: CHUNKED\r\n\r\n" . chunk($ONE) . "0\r\n\r\n", 'one', $ENDED, stays => 1],
    ['a chunk that says more', "${CHUNKS}00000000000B ;a=b\r\n$ONE\r\n0\r\n\r\n",          'one', $ENDED, stays => 1],
    ['an event before its chunk is complete', "${CHUNKS}20\r\n$ONE", 'one', [unavailable => qr/the stream was cut/]],
    ['chunks without a last one',             $CHUNKS . chunk($ONE), 'one', [unavailable => qr/the stream was cut/]],
    [
        'a chunk without CRLF',
        $CHUNKS . chunk($ONE) . "b\r\n${ONE}x",
        'one one', [unavailable => qr/a chunk has not the length/],
        stays => 1
    ],
    [
        'a chunk that is longer than it says',
        "${CHUNKS}3\r\n$ONE\r\n", '', [unavailable => qr/a chunk has not the length/],
        stays => 1
    ],
    [
        'a size that is none',
        $CHUNKS . chunk($ONE) . "xyz\r\n",
        'one', [unavailable => qr/not the size of a chunk/],
        stays => 1
    ],
    [
        'a size that is huge',
        $CHUNKS . chunk($ONE) . "FFFFFFFFF\r\n",
        'one', [unavailable => qr/not the size of a chunk/],
        stays => 1
    ],
    ['no size', "$CHUNKS$ONE", '', [unavailable => qr/not the size of a chunk/], stays => 1],
    [
        'a line between chunks',
        $CHUNKS . chunk($ONE) . ('1' x 5000),
        'one', [unavailable => qr/a line between chunks/],
        stays => 1
    ],
    [
        'another transfer coding', "${STREAM}Transfer-Encoding: gzip, chunked\r\n\r\n",
        '',                        [refused => qr/its transfer coding is gzip, chunked/],
        stays  => 1,
        closes => 1
    ],

    [
        'gzip that is damaged',
        "${STREAM}Content-Encoding: gzip\r\n\r\n" . substr(gzipped($ONE x 2), 0, -8) . 'damaged.',
        'one one', [unavailable => qr/damaged/],
        stays => 1
    ],
    [
        'gzip in members',
        "${STREAM}Content-Encoding: gzip\r\n\r\n" . gzipped($ONE) . gzipped("data: two\n\n"),
        'one two', $ENDED
    ],
    [
        'bytes behind gzip',
        "${STREAM}Content-Encoding: gzip\r\n\r\n" . gzipped($ONE) . $ONE,
        'one', [unavailable => qr/damaged/],
        stays => 1
    ],
    [
        'an event that is too long', "$STREAM\r\n${ONE}data: " . ('x' x 5000),
        'one',                       [invalid => qr/more than 1000 bytes/],
        stays     => 1,
        closes    => 1,
        max_event => 1000
    ],

    ['no content', "HTTP/1.1 204\r\n\r\n", '', stays => 1, closes => 1],
    [
        'a reason with escapes', "HTTP/1.1 404 \e[31mNo\x07 \xC3\x9C\xC2\x9B\r\n\r\n",
        '', [refused => qr/\AEventSource::Client: HTTP status 404 \\x1B\[31mNo\\x07 \xC3\x9C\\x9B at /],
        stays  => 1,
        closes => 1
    ],
    [
        'a type with escapes', "${OK}Content-Type: a\x9B\rb\r\n\r\n",
        '',                    [refused => qr/its type is a\\x9B b at/],
        stays  => 1,
        closes => 1
    ],
    [
        'a type of 10,000 bytes', "${OK}Content-Type: " . ('x' x 10_000) . "\r\n\r\n",
        '',                       [refused => qr/x{200}[.][.][.] at/],
        stays  => 1,
        closes => 1
    ],
    ['no type', "$OK\r\n$ONE", '', [refused => qr/it has no type/], stays => 1, closes => 1],
    (
        map { ["a redirect to $_->[0]", moved($_->[0]), '', [refused => $_->[1]], stays => 1, closes => 1] } (
            ['http://127.0.0.1:99999/', qr/a port that is not one of 1 to 65535/],
            ['http://127.0.0.1:0/',     qr/a port that is not one of 1 to 65535/],
            ['http://127.0.0.1:port/',  qr/names no host/],
            (
                map { ["http://127.0.0.1$_/", qr/has a character in its host that no host has/] } '%00.other',
                '%0D%0AX-Other', '%20', '%7F', '%2F..', '%25', '%3C'
            ),
            ['ftp://127.0.0.1/',      qr/not of http or https/],
            ["ftp://127.0.0.1/\e[2J", qr/not of http or https at/],
        )
    ),
);

sub parts_of {
    my ($name, $bytes, $events, @rest) = @{$_[0]};
    my ($error, %option) = @rest % 2 ? @rest : (undef, @rest);
    my %is = map { ($_ => delete $option{$_}) } qw(closes stays);
    return {%is, name => $name, bytes => $bytes, events => $events, error => $error, option => \%option};
}

my @CASES = map { parts_of($_) } @ANSWERS;

# The first request of each name gets the answer, the next one 204.
my $folder = File::Temp->newdir;
my $server = hostile_server sub {
    my ($client, $head)   = @_;
    my ($way,    $number) = $head =~ m{\AGET /(\w+)/([0-9]+)};
    my $case = $CASES[$number];
    sysopen my $first, "$folder/$way.$number", O_CREAT | O_EXCL | O_WRONLY
        or return print {$client} "HTTP/1.1 204 No Content\r\n\r\n";
    local $SIG{PIPE} = 'IGNORE';
    print {$client} $case->{bytes};
    sysread $client, my $rest, 1 if $case->{stays};
};

# A client for each answer. In an event loop they run at the same time.
sub read_all {
    my $way = shift;
    my @seen;
    my $option_of = sub {
        my $number = shift;
        my $seen   = $seen[$number] = {events => [], errors => []};
        return (
            url      => $server->url('/' . $way =~ s/\W//gr . "/$number"),
            on_error => sub { push @{$seen->{errors}}, $_[1] },
            on_close => sub { $seen->{closed} = 1 },
            retry    => 1,
            %{$CASES[$number]{option}},
        );
    };
    if ($way eq 'next') {
        for my $number (0 .. $#CASES) {
            my $client = EventSource::Client->new($option_of->($number));
            while (!$seen[$number]{closed}) {
                my $event = eval { $client->next($DEADLINE) };
                push @{$seen[$number]{events}}, $event if $event;
            }
        }
        return @seen;
    }
    my @clients = map {
        my $number = $_;
        EventSource::Client->new(
            $option_of->($number),
            via      => $way,
            on_event => sub { push @{$seen[$number]{events}}, $_[1] }
        );
    } 0 .. $#CASES;
    my $until = time + $DEADLINE;
    Testing::ReadingClient->run(
        $way,
        sub {
            time > $until || !grep { !$_->{closed} } @seen;
        }
    );
    return @seen;
}

sub judges_answers {
    my $way = shift;
    my (@died, @warned);
    if ($way ne 'next') {
        EventSource::XS::Client::Transport->in_loop($way)->loop;
        my $turns = 0;
        Testing::ReadingClient->run($way, sub { $turns++ });    # the libraries try several modules first
    }
    my @seen = do {
        local $SIG{__DIE__}  = sub { push @died,   $_[0] if $_[0] !~ /\AEventSource::Client: / };    # next throws
        local $SIG{__WARN__} = sub { push @warned, @_ };
        read_all($way);
    };
    my %requests;
    m{\AGET /(\w+/[0-9]+)} && $requests{$1}++ for $server->requests;
    for my $number (0 .. $#CASES) {
        my ($case, $seen) = ($CASES[$number], $seen[$number]);
        my ($code, $text) = @{$case->{error} || []};
        my $is = $requests{$way =~ s/\W//gr . "/$number"};
        subtest $case->{name} => sub {
            is join(' ', map { $_->{data} } @{$seen->{events}}), $case->{events}, 'its events';
            is_deeply [map { $_->code } @{$seen->{errors}}], [$code // ()], 'its errors';
            like $seen->{errors}[0] // '', $text, 'which say why' if $text;
            ok $seen->{closed}, 'the client has closed itself';
            is $is, $case->{closes} ? 1 : 2, $case->{closes} ? 'at once' : 'after the next answer';
        };
    }
    is_deeply \@died,   [], 'no handler of exceptions is called' or diag explain \@died;
    is_deeply \@warned, [], 'there is no warning'                or diag explain \@warned;
    return;
}

# What a transport calls back, if it is given some bytes in pieces of this length.
sub happenings {
    my ($bytes, $length) = @_;
    my ($body,  @seen)   = ('');
    my %on = (
        bytes => sub { $body .= $_[0] },
        end   => sub { push @seen, "end: @_" =~ s/(?<=HTTP: ).*//r },
        head  => sub { push @seen, join ' ', 'head:', $_[0], %{$_[1]}{sort keys %{$_[1]}}, $_[2] },
    );
    my $transport = InPieces->new(\%on);
    $transport->take(substr $bytes, 0, $length, '') while length $bytes && length $bytes < 20_000;
    $transport->lost;
    return ($body, @seen);
}

run_each([Testing::ReadingClient->ways] => \&judges_answers);

subtest 'an answer in pieces is the same' => sub {
    for my $case (@CASES) {
        my ($whole, $pieces) = map { [happenings($case->{bytes}, $_)] } length $case->{bytes} || 1, 1;
        is_deeply $pieces, $whole, $case->{name} or diag explain [$whole, $pieces];
    }
};

done_testing;

package InPieces;
use parent -norequire, 'EventSource::XS::Client::Transport';

sub close { return delete $_[0]{on} }
