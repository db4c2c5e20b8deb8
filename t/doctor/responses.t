# Responses that are not streams, and bodies that are written wrongly.

use lib 't/lib';
use Testing                qw(Server=Starman);
use JSON::PP               ();
use MIME::Base64           qw(encode_base64);
use Testing::Doctor        qw(is_fine is_wrong);
use Testing::HostileServer qw(hostile_server);
use Time::HiRes            qw(sleep);
use URI::Escape            qw(uri_escape);

# A name, the body, the check, its verdict, its sentence, and more headers.
my @BODY = (
    ['two_ends',   "id: 1\r\ndata: a\n\n",                line_ends     => 'warning', qr/CRLF LF/],
    ['cr',         "id: 1\rdata: a\r\rdata: b\r\r:\n",    line_ends     => 'warning', qr/CR LF/],
    ['bom',        "\xEF\xBB\xBFid: 1\ndata: a\n\n",      bom           => 'warning', qr/byte order mark/],
    ['latin1',     "id: 1\ndata: gr\xFC\xDFe\n\n",        utf8          => 'wrong',   qr/not UTF-8: fc df/],
    ['twice',      "id: 1\ndata: gr\xC3\x83\xC2\xBC\n\n", encoded_twice => 'wrong',   qr/UTF-8 twice/],
    ['unfinished', "id: 1\ndata: a\n\ndata: b\n",         unfinished    => 'wrong',   qr/no blank line/],
    ['space',      "id: 1\n data: a\n\n",                 fields        => 'wrong',   qr/' data' has a space/],
    ['case',       "id: 1\nData: a\n\n",                  fields    => 'wrong',   qr/'Data' is not written in lower/],
    ['unknown',    "id: 1\ndata: a\nprio: 3\n\n",         fields    => 'warning', qr/unknown field 'prio'/],
    ['page',       "<!doctype html>\n<p>Log in\n",        fields    => 'wrong',   qr/looks like a page/],
    ['no_data',    "event: a\n\nid: 1\ndata: a\n\n",      no_data   => 'warning', qr/1 events have a type/],
    ['no_ids',     "data: a\n\ndata: b\n\n",              ids       => 'warning', qr/no id/],
    ['never',      "retry: 9000000\nid: 1\ndata: a\n\n",  retry     => 'wrong',   qr/an hour/],
    ['at_once',    "retry: 0\nid: 1\ndata: a\n\n",        retry     => 'warning', qr/all clients/],
    ['bad_retry',  "retry: 3s\nid: 1\ndata: a\n\n",       bad_retry => 'wrong',   qr/'3s' is not a whole number/],
    ['nul',        "id: 1\0\ndata: a\n\n",                nul       => 'wrong',   qr/NUL/],
    [
        'charset', "data: a\n\n",
        type => 'wrong',
        qr/always UTF-8/, ['Content-Type' => 'text/event-stream; charset=latin1']
    ],
    ['public', "data: a\n\n", cache_control => 'wrong', qr/caches may keep/, ['Cache-Control' => 'public, max-age=60']],
    ['aged',   "data: a\n\n", cached            => 'wrong',   qr/A cache has answered/, [Age                 => 7]],
    ['accel',  "data: a\n\n", x_accel_buffering => 'wrong',   qr/nginx buffers/,        ['X-Accel-Buffering' => 'yes']],
    ['length', "data: a\n\n", framing           => 'warning', qr/Content-Length of 9/,  ['Content-Length'    => 9]],
);

# A status, and the sentence.
my @STATUS = (
    [204, qr/stop reconnecting for good/],
    [401, qr/asks for a login/],
    [403, qr/may not read/],
    [404, qr/no stream at this path/],
    [405, qr/does not take this method/],
    [503, qr/overloaded or stopped/],
    [418, qr/is not a success/],
);

# What HEAD is answered with for a stream of the owner ann: status, headers, and the sentence; none if that is fine.
my @ann  = ('EventSource-Owner' => 'ann');
my @HEAD = (
    [200, [@ann]],
    [200, [@ann, ('Content-Length' => 0) x 2], qr/two Content-Length [(]0, 0[)]/],
    [200, ['EventSource-Owner' => 'bob'],      qr/answered with 200 bob instead of 200 ann/],
    [200, [],                                  qr/answered with 200 nothing instead of 200 ann/],
    [502, [@ann],                              qr/answered with 502/],
);

# A reconnection time counts when its line ends.
my @RETRY_LINE = ('retry_line', "id: 1\ndata: a\n\nretry: 5000\n");

my %raw    = map { ($_->[0] => {body => encode_base64($_->[1]), headers => $_->[5] || []}) } @BODY, \@RETRY_LINE;
my $server = Testing::Server->start(
    'Starman', 't/data/doctor.psgi',
    workers => 2,
    env     => {DOCTOR_RAW => JSON::PP::encode_json(\%raw)}
);

for my $case (@BODY) {
    my ($name, undef, $check, $verdict, $sentence) = @$case;
    is_wrong(Testing::Doctor->start('--seconds', 0.5, $server->url("/raw?$name")), $check, $verdict, $sentence, $name);
}

is + Testing::Doctor->start('--seconds', 0.5, $server->url("/raw?$RETRY_LINE[0]"))->finding('unfinished'), undef,
    'a retry without a blank line is not an event that has no end';

for my $case (@STATUS) {
    my ($status, $sentence) = @$case;
    is_wrong(Testing::Doctor->start('--seconds', 1, $server->url("/status?$status")),
        'status', 'wrong', $sentence, "status $status");
}

for my $case (@HEAD) {
    my ($status, $headers, $sentence) = @$case;
    my $answer = "$status," . JSON::PP::encode_json($headers);
    my $doctor = Testing::Doctor->start('--seconds', 0.5, $server->url('/owned?' . uri_escape($answer)));
    if ($sentence) { is_wrong($doctor, 'owner', 'wrong', $sentence, "HEAD is answered with $answer") }
    else           { is $doctor->finding('owner')->{verdict}, 'ok', "HEAD is answered with $answer" }
}

my $hub = $server->url('/hub');
is_wrong(
    Testing::Doctor->start('--seconds', 1, $server->url("/to?$hub")),
    'redirect', 'warning', qr/redirects to \Q$hub\E/,
    'a redirect'
);
is_wrong(
    Testing::Doctor->start('--seconds', 3, $server->url('/slow')),
    'head', 'wrong', qr/The head came 1\.[0-9] s after/,
    'a late head'
);
is_wrong(
    Testing::Doctor->start('--seconds', 1, '--data', '{}', $hub),
    'status', 'wrong', qr/405.*does not take this method/,
    'a POST'
);

my $ending = hostile_server sub {
    my $client = shift;
    sleep 0.3;
    print {$client} "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: a\n\n";
};
is_wrong(
    Testing::Doctor->start('--seconds', 1, $ending->url('/')),
    'end',
    'warning',
    qr/closed after 0[.]0 s, and the response has no framing/,
    'a stream that ends with its head is not one of a limited time'
);

my $posted = Testing::Doctor->start('--seconds', 1, '--data', '{"a":1}', $server->url('/posted'));
is_fine($posted, 'a POST with data');
is $posted->report->{measurements}{events}, 1, 'the event that answers it is read';
my @read = ('--method', 'PATCH', '--header', 'X-Name: value', '--cookie', 'a=b');
is_wrong(Testing::Doctor->start('--seconds', 1, @read, $server->url('/posted')),
    'status', 'wrong', qr/405/, 'another method');

done_testing;
