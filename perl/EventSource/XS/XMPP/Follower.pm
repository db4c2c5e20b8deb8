package EventSource::XS::XMPP::Follower;
use strict;
use warnings;

# The state of a channel of a named hub, and then each event as it comes: read from one end of a pair of sockets, whose other
# end the hub process writes to.

use Errno qw(EAGAIN EINTR EWOULDBLOCK);
use EventSource::Error;
use EventSource::Parser;
use EventSource::XS::SocketPair;
use IO::Handle    ();
use IO::Select    ();
use JSON::MaybeXS ();
use Time::HiRes   qw(CLOCK_MONOTONIC clock_gettime);

my $JSON = JSON::MaybeXS->new(utf8 => 0, allow_nonref => 1);

my $MAX_EVENT  = 16 << 20;    # bytes: the longest message to a hub process
my $READ_BYTES = 65_536;
my $WITHIN     = 10;          # seconds, for the state

sub new {
    my ($class, $hub, $channel) = @_;
    my $process = $hub->process;
    my ($stream, $handed) = EventSource::XS::SocketPair->open
        or EventSource::Error->throw(code => 'unavailable', message => "EventSource::XMPP: no pair of sockets: $!");
    $process->follow($handed, $channel, {start => 'state'});
    $stream->blocking(0);
    return bless {
        process => $process,                                            # the stream lives as long as this connection
        stream  => $stream,
        parser  => EventSource::Parser->new(max_event => $MAX_EVENT),
    }, $class;
}

# Public methods

sub stream { return $_[0]{stream} }

# Waits for the events of the state, and returns those that came, in their order.
sub state {
    my $self     = shift;
    my $deadline = clock_gettime(CLOCK_MONOTONIC) + $WITHIN;
    my $select   = IO::Select->new($self->{stream});
    my @events;
    while (!$self->{is_complete}) {
        my $left = $deadline - clock_gettime(CLOCK_MONOTONIC);
        my $new  = $left > 0 && $select->can_read($left) ? $self->take : undef;
        EventSource::Error->throw(
            code    => 'unavailable',
            message => 'EventSource::XMPP: the hub process does not say its state'
        ) if !$new;
        push @events, @$new;
    }
    return @events;
}

# Returns the events that have come as a reference to an array, or undef at the end of the stream.
sub take {
    my $self  = shift;
    my $count = sysread $self->{stream}, (my $bytes), $READ_BYTES;
    return []    if !defined $count && ($! == EAGAIN || $! == EINTR || $! == EWOULDBLOCK);
    return undef if !$count;
    return [map { $self->_as_published($_) } grep { $self->_is_published($_) } $self->{parser}->feed($bytes)];
}

# Private methods

# The data that was published is a part of the data where show_channel puts the channel into that. A bridge that was not told of
# that has published without.
sub _as_published {
    my ($self, $event) = @_;
    return $event if ($self->{process}->show_channel || '') ne 'data';
    local ($@, $SIG{__DIE__});
    my $shown = eval { $JSON->decode($event->{data}) };
    return ref $shown eq 'HASH' && exists $shown->{channel} ? {%$event, data => $shown->{data}} : $event;
}

# The hub's own events are not published. The position says that the state is complete.
sub _is_published {
    my ($self, $event) = @_;
    if ($event->{event} eq $self->{process}->position_event && $event->{data} eq '') {
        $self->{is_complete} = 1;
        return !!0;
    }
    return $event->{event} ne $self->{process}->gap_event;
}

1;
