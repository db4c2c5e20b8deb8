# The doctor behind a HAProxy that is configured wrongly.

use lib 't/lib';
use Testing;
use Testing::DoctorCases qw(mistakes_ok);

my @ORIGIN = ('--origin', 'http://page.example');

# HAProxy 2.6 keeps back the last bytes of each event until the next one.
my %WITHHELD = (
    lines    => ['compression algo gzip', 'compression type text/event-stream'],
    path     => '/hub?keepalive=30',
    check    => 'compression',
    verdict  => 'wrong',
    sentence => qr/compressed \(gzip\), and the compressor withholds/,
    is_alone => 1,
);
my @COMPRESSION = (
    {%WITHHELD, name => 'compression of a quiet stream'},
    {%WITHHELD, name => 'compression that withholds the end of the last event', arguments => ['--seconds', 0.8]},
);

mistakes_ok(
    'HAProxy',
    {
        name     => 'a timeout that is shorter than the keepalive',
        lines    => ['timeout server 500ms'],
        path     => '/hub?keepalive=30',
        check    => 'timeout',
        verdict  => 'wrong',
        sentence => qr/cut after [0-9.]+ s of silence/,
    },
    qx(haproxy -v 2>&1) =~ / 2[.]6[.]/ ? @COMPRESSION : (),
    {
        name     => 'the body is collected',
        lines    => ['http-response wait-for-body time 1s at-least 4k'],
        check    => 'status',
        verdict  => 'wrong',
        sentence => qr/504.*waited too long/,
    },
    {
        name     => 'Last-Event-ID is removed',
        lines    => ['http-request del-header Last-Event-ID'],
        check    => 'last_event_id',
        verdict  => 'wrong',
        sentence => qr/a proxy removes the header/,
    },
    {
        name     => 'another Content-Type',
        lines    => ['http-response set-header Content-Type text/html'],
        check    => 'type',
        verdict  => 'wrong',
        sentence => qr{text/html instead of text/event-stream.*a page},
    },
    {
        name      => 'no CORS',
        lines     => ['http-response del-header Access-Control-Allow-Origin'],
        arguments => \@ORIGIN,
        check     => 'origin',
        verdict   => 'wrong',
        sentence  => qr/no Access-Control-Allow-Origin/,
    },
);

done_testing;
