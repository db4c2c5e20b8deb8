# The doctor behind a Squid that is configured wrongly. Squid passes on what comes, unless a scanner adapts it.

use lib 't/lib';
use Testing;
use Testing::DoctorCases qw(mistake mistakes_ok);

mistakes_ok 'Squid',
    mistake(timeout       => 'read_timeout 1 seconds'),
    mistake(last_event_id => 'request_header_access Last-Event-ID deny all'),
    mistake(origin        => 'reply_header_access Access-Control-Allow-Origin deny all');

done_testing;
