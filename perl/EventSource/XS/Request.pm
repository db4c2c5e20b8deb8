package EventSource::XS::Request;
use strict;
use warnings;

# Reads the head of a request: src/request has the rules, and src/xs/request.rs the calls. An object is what the client of a
# stream prefers (the header Prefer, RFC 7240): that the stream be a poll, and that the response echo a token.

use EventSource::XS::Library;

# The header of streams that polls do not have: ONLY_OF_STREAMS in src/request.rs.
my $ONLY_OF_STREAMS = 'incremental';

# Public methods

# Return the head of a response, an array of names and values, as that of a stream or a poll which is as the client prefers.
sub applied {
    my ($self, $headers) = @_;
    my @head = ('Preference-Applied' => $self->{applied}, Vary => 'Prefer');
    return [@$headers, @head] if !$self->is_poll;
    my @kept =
        map { lc $headers->[$_] eq $ONLY_OF_STREAMS ? () : @$headers[$_, $_ + 1] } grep { !($_ % 2) } 0 .. $#$headers;
    return [@kept, @head];
}

# Return the name of the best content coding that a client accepts (RFC 9110, section 12.5.3), by its Accept-Encoding, and no
# better one than the named one, if one is named.
sub coding {
    my ($class, @given) = @_;
    return ($class->_call('coding', @given))[0];
}

sub is_poll { return !!@{$_[0]{poll}} }

# Return the last event ID of a request, as characters; undef if the client sent none. It is the value of the header, or, if
# that is missing or empty, of the first of the query parameters last_event_id, lastEventId and evs_last_event_id that is
# not empty. If a parameter occurs several times, its last value counts.
sub last_event_id {
    my ($class, $env) = @_;
    return scalar $class->_call('id', @$env{qw(HTTP_LAST_EVENT_ID QUERY_STRING)});
}

# Return what the native hub takes.
sub native { return (poll => @{$_[0]{poll}}) }

# Return an object for the environment of a request, or undef if the client prefers nothing that is known here.
sub preference {
    my ($class, $env) = @_;
    return undef if !defined $env->{HTTP_PREFER};
    my ($applied, @poll) = $class->_call('preference', $env->{HTTP_PREFER}) or return undef;
    return bless {applied => $applied, poll => \@poll}, $class;
}

1;
