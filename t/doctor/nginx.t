# The doctor behind an nginx that is configured wrongly.

use lib 't/lib';
use Testing;
use Testing::DoctorCases qw(mistake mistakes_ok);

mistakes_ok(
    'nginx',
    {
        name     => 'buffering, although the application forbids it',
        lines    => ['proxy_http_version 1.0;', 'proxy_ignore_headers X-Accel-Buffering;'],
        check    => 'buffering',
        verdict  => 'wrong',
        sentence => qr/not even the head[.] A poll.*on the way holds responses back until they end/,
    },
    {
        name      => 'buffering of all but the first bytes, with a probe',
        lines     => ['proxy_http_version 1.0;', 'proxy_ignore_headers X-Accel-Buffering;'],
        path      => '/hub?preamble=40000',
        arguments => [
            '--trigger',
            q{perl -MTesting::Client -e 'Testing::Client->get($ENV{DOCTOR_PORT},}
                . q{"/publish?$ENV{EVENTSOURCE_DOCTOR_PROBE}")->read_until(qr/./)'}
        ],
        check    => 'buffering',
        verdict  => 'wrong',
        sentence => qr/The probe (?:has not arrived|arrived [0-9.]+ s after)/,
    },
    {
        name    => 'buffering that a timeout ends',
        lines   => ['proxy_http_version 1.0;', 'proxy_ignore_headers X-Accel-Buffering;', 'proxy_read_timeout 1200ms;'],
        path    => '/hub?keepalive=30',
        check   => 'head',
        verdict => 'wrong',
        sentence => qr/ended at the same moment/,
        is_alone => 1,
        then     => ['timeout', 'wrong', qr/cut after [0-9.]+ s of silence/],
    },
    {
        name     => 'buffering of all but the first bytes, without a probe',
        lines    => ['proxy_http_version 1.0;', 'proxy_ignore_headers X-Accel-Buffering;'],
        path     => '/hub?preamble=40000',
        check    => 'buffering',
        verdict  => 'wrong',
        sentence => qr/in the middle of an event/,
        is_alone => 1,
    },
    mistake(compression   => 'gzip on;', 'gzip_types text/event-stream;'),
    mistake(timeout       => 'proxy_read_timeout 500ms;'),
    mistake(framing       => 'proxy_http_version 1.0;', 'chunked_transfer_encoding off;'),
    mistake(last_event_id => q{proxy_set_header Last-Event-ID '';}),
    mistake(type          => 'proxy_hide_header Content-Type;', 'add_header Content-Type text/plain;'),
    mistake(origin        => 'proxy_hide_header Access-Control-Allow-Origin;'),
    {
        name  => 'a cached response',
        lines => [
            'proxy_cache cache;',
            'proxy_cache_valid 200 1m;',
            'proxy_ignore_headers Cache-Control Expires X-Accel-Buffering;'
        ],
        path     => '/count',
        check    => 'cached',
        verdict  => 'wrong',
        sentence => qr/a cache has answered/,
        except   => [qw(end)],
    },
);

done_testing;
