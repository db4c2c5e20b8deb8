package EventSource::XS::Hub::Admin::Row;
use strict;
use warnings;

# An event as the admin page shows it, and of every long text the beginning.

my $MAX_CHARACTERS = 1_000;

sub beginning { return substr $_[1], 0, $MAX_CHARACTERS }

# Take an event of EventSource::XS::Hub::FollowedStream. Returns a hash of channel, event, id, data, and the length of all
# data.
sub of {
    my ($class, $event) = @_;
    my %row = map { ($_ => $class->beginning($event->{$_} // '')) } qw(channel event id data);
    return {%row, length => length $event->{data}};
}

1;
