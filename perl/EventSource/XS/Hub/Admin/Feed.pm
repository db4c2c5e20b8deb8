package EventSource::XS::Hub::Admin::Feed;
use strict;
use warnings;

# The stream of an admin page: looks at the hub process each second, and follows a channel. It runs in a process of its own
# (spawn of Plack::App::EventSource::Connection), as long as the page is open.
#
# While the hub process is away, the page is told so, and the feed connects again. A page that reads slowly delays the
# pushes, so the hub process sees a slow client, and what that has missed is said.

use EventSource::XS::Hub::Admin::Look;
use EventSource::XS::Hub::Name;
use EventSource::XS::Reason;
use List::Util  qw(max min);
use POSIX       ();
use Time::HiRes qw(time);

my $INTERVAL = 1;      # seconds between two looks
my $SHARE    = 10;     # what lists the channels may take this part of the time: many are listed less often
my $START    = -20;    # the events of the history with which a tail begins
my $PAUSE    = 0.1;    # seconds between two pushes of what the tail has read
my $MAX_ROWS = 20;     # events of one of these pushes: the last ones; of those before, their number
my $NICE     = 10;     # a page takes no processor from the hub

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
        my $what  = $connection->wait($self->_socket, max(0, $until - time));
        last         if $what eq 'gone';
        $self->_read if $what eq 'readable';
    }
    return;
}

# Private functions and methods

# Follows the channel, and anew after the end of the stream.
sub _follow {
    my $self = shift;
    my $name = $self->{look}->channel;
    return if !defined $name || $self->_socket;
    my $topic = $name =~ /[*]/ ? EventSource::XS::Hub::Name->pattern($name) : $name;
    my ($hub, $before) = @$self{qw(hub stream)};
    $self->{stream} = $before ? $before->resume($hub) : $hub->follow($topic, {start => $START});
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
    delete $self->{hub};
    return {event => 'away', json => {message => EventSource::XS::Reason->message_of($error), time => time}};
}

# Reads what has come. At its end the stream is followed anew with the next look.
sub _read {
    my $self = shift;
    push @{$self->{rows}}, @{$self->{stream}->read || []};
    my @left_out = splice @{$self->{rows}}, 0, max(0, @{$self->{rows}} - $MAX_ROWS);
    $self->{skipped} += @left_out;
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

sub _socket {
    my $stream = shift->{stream};
    return $stream && $stream->socket;
}

1;
