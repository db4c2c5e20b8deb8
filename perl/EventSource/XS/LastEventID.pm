package EventSource::XS::LastEventID;
use strict;
use warnings;

# The last event ID that a client sent, in the header or in the query: src/request has the rules.

use EventSource::XS::Library;

# Public methods

# Return the last event ID of a request, as characters; undef if the client sent none. It is the value of the header, or, if
# that is missing or empty, of the first of the query parameters last_event_id, lastEventId and evs_last_event_id that is
# not empty. If a parameter occurs several times, its last value counts.
sub of {
    my ($class,  $env)   = @_;
    my ($header, $query) = @$env{qw(HTTP_LAST_EVENT_ID QUERY_STRING)};
    return _find($header, $query);
}

1;
