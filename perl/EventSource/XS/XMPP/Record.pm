package EventSource::XS::XMPP::Record;
use strict;
use warnings;

# A structure that the bridge keeps in the state of a channel of the hub, as JSON.

use JSON::MaybeXS ();

my $JSON = JSON::MaybeXS->new(utf8 => 0, canonical => 1);

# Public methods

# The event that keeps it.
sub event {
    my ($class, $type, $key, $record) = @_;
    return {event => $type, key => $key, retain => 1, data => $JSON->encode($record)};
}

# The structure of an event, a hash; undef if it has none. With show_channel => 'data' the hub puts the data that was published
# into another structure, beside the name of the channel. A bridge that was not told of that has published without.
sub of {
    my ($class, $event, $type) = @_;
    return undef if ($event->{event} // '') ne $type;
    local ($@, $SIG{__DIE__});
    my $record = eval { $JSON->decode($event->{data}) };
    $record = eval { $JSON->decode($record->{data}) } if ref $record eq 'HASH' && exists $record->{channel};
    return ref $record eq 'HASH' ? $record : undef;
}

1;
