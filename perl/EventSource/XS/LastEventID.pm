package EventSource::XS::LastEventID;
use strict;
use warnings;

# The last event ID that a client sent, in the header or in the query. The client may send any string, so the search has
# a bounded cost.

use EventSource::XS::Hub::Name;

# The query parameters in which polyfills that cannot set headers send the last event ID.
my @PARAMETERS    = qw(last_event_id lastEventId evs_last_event_id);
my %IS_PARAMETER  = map { ($_ => 1) } @PARAMETERS;
my $SHORTEST_NAME = 11;                                                # characters

my $MAX_QUERY = 8_192;                                                 # bytes of a query that are read
my $MAX_ID    = EventSource::XS::Hub::Name->max_bytes;                 # no event has a longer id

# Public methods

# Return the last event ID of a request, as characters; undef if the client sent none. It is the value of the header, or, if
# that is missing or empty, of the first of the query parameters last_event_id, lastEventId and evs_last_event_id that is
# not empty. If a parameter occurs several times, its last value counts.
sub of {
    my ($class, $env) = @_;
    my $id = $env->{HTTP_LAST_EVENT_ID};
    if (!defined $id || !length $id) {
        my $query = $env->{QUERY_STRING};
        return undef if !defined $query || !length $query;
        $id = _in_query($query);
        return undef if !defined $id;
    }
    $id = _bounded($id);
    utf8::decode($id);
    return $id;
}

# Return a query without the parameters in which a client sends its last event ID.
sub query_without {
    my ($class, $query) = @_;
    return join '&', grep { !/\A([^=]*)/ || !$IS_PARAMETER{$1} } split /[&;] ?/, $query, -1;
}

# Private functions

# An id that is too long is unknown, and it stays unknown if it is cut off one byte after the limit.
sub _bounded {
    my $id = shift;
    return length $id > $MAX_ID ? substr $id, 0, $MAX_ID + 1 : $id;
}

# The id in a query, in bytes, or undef. The last value of each parameter counts, and the first parameter of the list
# that is not empty. Only the beginning of a long query is read. A value that continues after it becomes too long, and so
# unknown.
sub _in_query {
    my $query = shift;
    my @pairs = split /[&;] ?/, substr($query, 0, $MAX_QUERY + 1), -1;
    $pairs[-1] .= 'x' x ($MAX_ID + 1) if length $query > $MAX_QUERY;
    my %value;
    for my $pair (grep { length >= $SHORTEST_NAME } @pairs) {
        my ($name, $value) = map { _unescaped($_) } split /=/, $pair, 2;
        $value{$name} = defined $value ? $value : '' if $IS_PARAMETER{$name};
    }
    my ($id) = grep { defined && length } @value{@PARAMETERS};
    return $id;
}

sub _unescaped { return $_[0] =~ tr/+/ /r =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ger }

1;
