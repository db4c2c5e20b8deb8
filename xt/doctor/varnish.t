# The doctor behind a Varnish that is configured wrongly.

use lib 't/lib';
use Testing;
use Testing::DoctorCases qw(mistake mistakes_ok);

# A function of the VCL with one line.
sub function {
    my ($name, $line) = @_;
    return ("sub vcl_$name {", "    $line", '}');
}

mistakes_ok 'Varnish',
    {
    name     => 'buffering',
    lines    => [function(backend_response => 'set beresp.do_stream = false;')],
    check    => 'buffering',
    verdict  => 'wrong',
    sentence => qr/not even the head[.].*holds? /,
    },
    {
    name     => 'compression',                                                  # others wait for the first response
    lines    => [function(backend_response => 'set beresp.do_gzip = true;')],
    check    => 'compression',
    verdict  => 'wrong',
    sentence => qr/compressed \(gzip\), and no text has come, though a poll was answered/,
    },
    mistake(timeout       => function(backend_fetch    => 'set bereq.between_bytes_timeout = 1s;')),
    mistake(last_event_id => function(recv             => 'unset req.http.Last-Event-ID;')),
    mistake(type          => function(backend_response => 'set beresp.http.Content-Type = "text/html";')),
    mistake(origin        => function(backend_response => 'unset beresp.http.Access-Control-Allow-Origin;'));

done_testing;
