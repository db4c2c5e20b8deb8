# The doctor behind a Caddy that is configured wrongly.

use lib 't/lib';
use Testing;
use Testing::DoctorCases qw(mistake mistakes_ok);

sub proxy { return ('reverse_proxy 127.0.0.1:5000 {', @_, '}') }

mistakes_ok 'Caddy',
    {
    name     => 'buffering',
    lines    => [proxy('buffer_responses')],
    check    => 'buffering',
    verdict  => 'wrong',
    sentence => qr/A poll.*on the way holds responses back/,
    },
    {
    name     => 'compression',
    lines    => ['encode gzip'],
    path     => '/hub?preamble=2000',                                    # nothing short is compressed
    check    => 'compression',
    verdict  => 'wrong',
    sentence => qr/compressed \(gzip\), and the compressor withholds/,
    },
    {
    name     => 'a timeout that is shorter than the keepalive',
    lines    => [proxy('transport http {', 'read_timeout 500ms', '}')],
    path     => '/hub?keepalive=30',
    check    => 'end',
    verdict  => 'warning',
    sentence => qr/ended as a whole after [0-9.]+ s, [0-9.]+ s of them in silence.*or a proxy/,
    },
    mistake(last_event_id => proxy('header_up -Last-Event-ID')),
    mistake(type          => proxy('header_down Content-Type text/html')),
    mistake(origin        => proxy('header_down -Access-Control-Allow-Origin'));

done_testing;
