# The doctor behind an Apache that is configured wrongly. Apache sends what it has when the application pauses, so nothing
# here makes it withhold events.

use lib 't/lib';
use Testing;
use Testing::DoctorCases qw(mistakes_ok);

my @ORIGIN = ('--origin', 'http://page.example');

mistakes_ok(
    'Apache',
    {
        name     => 'compression',
        lines    => ['SetOutputFilter DEFLATE'],
        check    => 'compression',
        verdict  => 'ok',
        sentence => qr/compressed \(gzip\), and nothing is withheld/,
    },
    {
        name     => 'a timeout that is shorter than the keepalive',
        lines    => ['ProxyTimeout 1'],
        path     => '/hub?keepalive=30',
        check    => 'timeout',
        verdict  => 'wrong',
        sentence => qr/cut after [0-9.]+ s of silence/,
    },
    {
        name     => 'no chunks',
        lines    => ['SetEnvIf Request_URI . downgrade-1.0 force-response-1.0'],
        check    => 'framing',
        verdict  => 'warning',
        sentence => qr/not chunked/,
    },
    {
        name     => 'Last-Event-ID is removed',
        lines    => ['RequestHeader unset Last-Event-ID'],
        check    => 'last_event_id',
        verdict  => 'wrong',
        sentence => qr/a proxy removes the header/,
    },
    {
        name     => 'another Content-Type',
        lines    => ['Header set Content-Type text/html'],
        check    => 'type',
        verdict  => 'wrong',
        sentence => qr{text/html instead of text/event-stream.*a page},
    },
    {
        name      => 'no CORS',
        lines     => ['Header unset Access-Control-Allow-Origin'],
        arguments => \@ORIGIN,
        check     => 'origin',
        verdict   => 'wrong',
        sentence  => qr/no Access-Control-Allow-Origin/,
    },
);

done_testing;
