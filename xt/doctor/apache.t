# The doctor behind an Apache that is configured wrongly. Apache sends what it has when the application pauses, so nothing
# here makes it withhold events.

use lib 't/lib';
use Testing;
use Testing::DoctorCases qw(mistake mistakes_ok);

mistakes_ok(
    'Apache',
    mistake(compression   => 'SetOutputFilter DEFLATE'),
    mistake(timeout       => 'ProxyTimeout 1'),
    mistake(framing       => 'SetEnvIf Request_URI . downgrade-1.0 force-response-1.0'),
    mistake(last_event_id => 'RequestHeader unset Last-Event-ID'),
    mistake(type          => 'Header set Content-Type text/html'),
    mistake(origin        => 'Header unset Access-Control-Allow-Origin'),
);

done_testing;
