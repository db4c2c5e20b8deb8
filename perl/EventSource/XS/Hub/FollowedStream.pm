package EventSource::XS::Hub::FollowedStream;
use strict;
use warnings;

# The stream that "follow" of EventSource::Hub::Process returns, where its manual is: one end of a pair of sockets, whose other
# end the hub process writes to. Before each event there is a comment with its channel.

use Errno qw(EAGAIN EINTR EWOULDBLOCK);
use EventSource::Parser;
use EventSource::XS::Signals qw(without_signals);

# The longest event, in bytes: the longest message to a hub process.
my $MAX_EVENT = 16 << 20;

my $READ_BYTES = 65_536;

# Options: socket; gap_event of the hub; topics and option, those of follow.
sub new {
    my ($class, %option) = @_;
    my $self = bless {%option, parser => EventSource::Parser->new(max_event => $MAX_EVENT), events => [], rest => ''},
        $class;
    utf8::encode(my $id = $self->{option}{after} // '');
    $self->{parser}->feed("id: $id\n\n");
    return $self;
}

# Public methods

sub last_event_id { return $_[0]{parser}->last_event_id }

# A handler of a signal, or on_bytes, may die: the next call has the events then.
sub read {
    my $self = shift;
    return $self->_taken if @{$self->{events}} || $self->{rest} =~ /\n\n/;
    my $socket = $self->{socket} // return undef;
    my $count  = sysread $socket, $self->{rest}, $READ_BYTES, length $self->{rest};
    return []                      if !defined $count && ($! == EAGAIN || $! == EINTR || $! == EWOULDBLOCK);
    return $self->{socket} = undef if !$count;
    $self->{option}{on_bytes}->($self, substr $self->{rest}, -$count) if $self->{option}{on_bytes};
    return $self->_taken;
}

# The next hub process has only events that were published after the last one was lost, and its state, if that is asked for. A
# stream without an id has not begun.
sub resume {
    my ($self, $process) = @_;
    my %option = %{$self->{option}};
    my $id     = $self->last_event_id;
    my $start  = ($option{start} // '') eq 'state' ? 'state' : 'oldest';
    %option = (%option, after => $id, start => $start) if length $id;
    return $process->follow(@{$self->{topics}}, \%option);
}

sub socket { return $_[0]{socket} }

# Private functions and methods

sub _name {
    my $name = shift;
    $name =~ s/%([0-9A-F]{2})/chr hex $1/ge;
    utf8::decode($name);
    return $name;
}

# The events whose end has come. A block ends with an empty line. One that is only a comment is not an event.
sub _taken {
    my $self = shift;
    without_signals(
        sub {
            while ((my $ends = index $self->{rest}, "\n\n") >= 0) {
                my $block   = substr $self->{rest}, 0, $ends + 2, '';
                my ($event) = $self->{parser}->feed($block) or next;
                my ($name)  = $block =~ /^:channel (.*)\n/m;

                # The hub's own events have no channel: gaps, and positions, which only move the last event ID.
                next if !defined $name && $event->{event} ne $self->{gap_event};
                push @{$self->{events}}, {%$event, defined $name ? (channel => _name($name)) : (is_gap => 1)};
            }
        }
    );
    return [splice @{$self->{events}}];
}

1;
