package EventSource::XS::LastEventID;
use strict;
use warnings;

# The last event ID that a client sent, in the header or in the query. The client may send any string, so the search has
# a bounded cost.

our $VERSION = '0.100';

# The query parameters in which polyfills that cannot set headers send the last event ID.
my @PARAMETERS    = qw(last_event_id lastEventId evs_last_event_id);
my %IS_PARAMETER  = map { ($_ => 1) } @PARAMETERS;
my $SHORTEST_NAME = 11;                                                # characters

my $MAX_QUERY = 8_192;                                                 # bytes of a query that are read
my $MAX_ID    = 1_024;                                                 # bytes; no event has a longer id

# Public methods

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

# Private functions

# An id that is too long is unknown, and it stays unknown if it is cut off one byte after the limit.
sub _bounded {
    my $id = shift;
    return length $id > $MAX_ID ? substr $id, 0, $MAX_ID + 1 : $id;
}

# The id in a query, in bytes, or undef. The last value of each parameter counts, and the first parameter of the list
# that is not empty. Only the beginning of a long query is read. A value that goes on after it becomes too long, and so
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
__END__

=encoding utf8

=head1 NAME

EventSource::XS::LastEventID - The last event ID that a client sent

=head1 SYNOPSIS

    use EventSource::XS::LastEventID;

    my $app = sub {
        my $env  = shift;
        my $id   = EventSource::XS::LastEventID->of($env);
        my $text = defined $id ? 'it sent an id' : 'it sent no id';
        return [200, ['Content-Type' => 'text/event-stream'], ["data: $text\n\n"]];
    };

=head1 DESCRIPTION

A client that reconnects sends the id of the last event that it received in the header C<Last-Event-ID> (WHATWG HTML,
section 9.2.4). Polyfills that cannot set the header send it as a parameter of the query. All applications of this
distribution read it with this module.

=head1 METHODS

=head2 of

    my $id = EventSource::XS::LastEventID->of($env);

Return the last event ID of a request, as characters; C<undef> if the client sent none.

It is the value of the header, or, if that is missing or empty, of the first of the query parameters C<last_event_id>,
C<lastEventId> and C<evs_last_event_id> that is not empty. If a parameter occurs several times, its last value counts.

The client may send any string. Only the first 8,192 bytes of the query are read, and at most 1,025 bytes are returned.
An id with more than 1,024 bytes, or one that goes on after the part of the query that is read, is returned with 1,025
bytes: no event has an id of that length, so the id is unknown. An id that is not UTF-8 is returned as its bytes.

=head1 SEE ALSO

L<Plack::App::EventSource::Connection/last_event_id>, L<EventSource::XS::Hub::App>, L<EventSource::Server>

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
