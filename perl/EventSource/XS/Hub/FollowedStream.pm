package EventSource::XS::Hub::FollowedStream;
use strict;
use warnings;

# Reads what a hub process writes for "follow" of EventSource::Hub::Process: before each event there is a comment with its
# channel.

use EventSource::Parser;

# The longest event, in bytes: the longest message to a hub process.
my $MAX_EVENT = 16 << 20;

sub new { return bless({parser => EventSource::Parser->new(max_event => $MAX_EVENT)}, shift)->restart }

# Public methods

# Take bytes, wherever they were cut. Returns events, as hashes of channel, event, id and data. The hub's own events have no
# channel.
sub feed {
    my ($self, $bytes) = @_;
    my @events;
    $self->{rest} .= $bytes;
    while ($self->{rest} =~ s/\A(.*?)^:channel ([^\n]*)\n//ms) {
        my ($before, $name) = ($1, $2);
        push @events, $self->_parsed($before);
        $name =~ s/%([0-9A-F]{2})/chr hex $1/ge;
        utf8::decode($name);
        $self->{channel} = $name;
    }
    my $whole = rindex($self->{rest}, "\n") + 1;
    return @events, $self->_parsed(substr $self->{rest}, 0, $whole, '');
}

sub last_event_id { return $_[0]{parser}->last_event_id }

# The stream has ended, and another one continues it.
sub restart {
    my $self = shift;
    $self->{parser}->finish;
    @$self{qw(channel rest)} = (undef, '');
    return $self;
}

# Private methods

sub _parsed {
    my ($self, $bytes) = @_;
    return map { +{%$_, channel => delete $self->{channel}} } $self->{parser}->feed($bytes);
}

1;
