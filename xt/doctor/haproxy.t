# The doctor behind a HAProxy that is configured wrongly.

use lib 't/lib';
use Testing;
use Testing::DoctorCases qw(mistake mistakes_ok);

# HAProxy 2.6 keeps back the last bytes of each event until the next one, unless a stream asks not to be compressed, as ours do.
my %WITHHELD = (
    lines    => ['compression algo gzip', 'compression type text/event-stream'],
    path     => '/coded?keepalive=30',
    check    => 'compression',
    verdict  => 'wrong',
    sentence => qr/compressed \(gzip\), and the compressor withholds/,
    is_alone => 1,
);
my @COMPRESSION = (
    {%WITHHELD, name => 'compression of a quiet stream'},
    {%WITHHELD, name => 'compression that withholds the end of the last event', arguments => ['--seconds', 0.8]},
);

mistakes_ok 'HAProxy',
    mistake(timeout => 'timeout server 500ms'), qx(haproxy -v 2>&1) =~ / 2[.]6[.]/ ? @COMPRESSION : (),
    {
    name     => 'the body is collected',
    lines    => ['http-response wait-for-body time 1s at-least 4k'],
    check    => 'status',
    verdict  => 'wrong',
    sentence => qr/504.*waited too long/,
    },
    mistake(last_event_id => 'http-request del-header Last-Event-ID'),
    mistake(type          => 'http-response set-header Content-Type text/html'),
    mistake(origin        => 'http-response del-header Access-Control-Allow-Origin');

done_testing;
