package EventSource::XS::Hub::Admin::Feed;
use strict;
use warnings;

# The stream of an admin page: looks at the hub process each second, and follows a channel. It runs in a process of its own
# (spawn of Plack::App::EventSource::Connection), as long as the page is open.
#
# While the hub process is away, the page is told so, and the feed connects again. A page that reads slowly delays the
# pushes, so the hub process sees a slow client, and what that has missed is said.

use EventSource::XS::Hub::Admin::Look;
use EventSource::XS::Hub::FollowedStream;
use EventSource::XS::Hub::Name;
use EventSource::XS::Reason;
use EventSource::XS::SocketPair;
use List::Util  qw(max min);
use POSIX       ();
use Time::HiRes qw(time);

my $INTERVAL = 1;      # seconds between two looks
my $SHARE    = 10;     # what lists the channels may take this part of the time: many are listed less often
my $START    = -20;    # the events of the history with which a tail begins
my $PAUSE    = 0.1;    # seconds between two pushes of what the tail has read
my $MAX_ROWS = 20;     # events of one of these pushes: the last ones; of those before, their number
my $NICE     = 10;     # a page takes no processor from the hub

my $READ_BYTES = 65_536;

# Options: open, which connects to the hub process, and those of EventSource::XS::Hub::Admin::Look.
sub new {
    my ($class, %option) = @_;
    my $open = delete $option{open};
    return bless {open => $open, look => EventSource::XS::Hub::Admin::Look->new(%option), rows => [], skipped => 0},
        $class;
}

# Public methods

sub run {
    my ($self, $connection) = @_;
    POSIX::nice($NICE);
    my ($next_list, $next_look, $next_rows) = (0, 0, 0);
    while ($connection->is_open) {
        my $now = time;
        if ($now >= $next_look) {
            my $has_list = $now >= $next_list;
            $connection->push($self->_news($has_list));
            $next_list = $now + $SHARE * (time - $now) if $has_list;
            $next_look = $now + $INTERVAL;
        }
        elsif (@{$self->{rows}} && $now >= $next_rows) {
            $connection->push({event => 'tail', json => {$self->_rows}});
            $next_rows = time + $PAUSE;
        }
        my $until = @{$self->{rows}} ? min($next_look, $next_rows) : $next_look;
        my $what  = $connection->wait($self->{stream}, max(0, $until - time));
        last         if $what eq 'gone';
        $self->_read if $what eq 'readable';
    }
    return;
}

# Private functions and methods

# Follows the channel anew, after the last event that was read. Of another hub process it begins where that one begins.
sub _follow {
    my $self = shift;
    my $name = $self->{look}->channel;
    return if !defined $name || $self->{stream};
    my $topic = $name =~ /[*]/  ? EventSource::XS::Hub::Name->pattern($name) : $name;
    my $known = $self->{reader} ? $self->{reader}->last_event_id             : '';
    my ($stream, $handed) = EventSource::XS::SocketPair->open or die "no pair of sockets: $!\n";
    $self->{hub}->follow($handed, $topic, {after => $known, start => length $known ? 'oldest' : $START});
    $self->{reader} = $self->{reader} ? $self->{reader}->restart : EventSource::XS::Hub::FollowedStream->new;
    $self->{stream} = $stream;
    return;
}

# The next event: a look, or why there is none.
sub _news {
    my ($self, $has_list) = @_;
    local ($@, $SIG{__DIE__});
    my $look = eval {
        $self->{hub} ||= $self->{open}->();
        $self->_follow;
        $self->{look}->take($self->{hub}, $has_list);
    };
    my $error = $@;
    return {event => 'look', json => $look} if $look;
    delete @$self{qw(hub stream)};
    return {event => 'away', json => {message => EventSource::XS::Reason->message_of($error), time => time}};
}

# Reads what has come. At its end the stream is followed anew with the next look.
sub _read {
    my $self  = shift;
    my $count = sysread $self->{stream}, (my $bytes), $READ_BYTES;
    return delete $self->{stream} if !$count;
    my $gap = $self->{hub}->gap_event;
    for my $event ($self->{reader}->feed($bytes)) {
        next if !defined $event->{channel} && $event->{event} ne $gap;
        push @{$self->{rows}}, $event;
        next if @{$self->{rows}} <= $MAX_ROWS;
        shift @{$self->{rows}};
        $self->{skipped}++;
    }
    return;
}

# The rows that have come, and how many were left out before them.
sub _rows {
    my $self    = shift;
    my $skipped = $self->{skipped};
    my @rows    = map { EventSource::XS::Hub::Admin::Look->row($_) } splice @{$self->{rows}};
    $self->{skipped} = 0;
    return (rows => \@rows, skipped => $skipped);
}

1;
