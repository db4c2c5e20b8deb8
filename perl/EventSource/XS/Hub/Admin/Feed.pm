package EventSource::XS::Hub::Admin::Feed;
use strict;
use warnings;

# The tail of a channel of a named hub. It runs in a process of its own (spawn of Plack::App::EventSource::Connection), as long
# as the page is open.
#
# While the hub process is away, the feed asks for it each second. A page that reads slowly delays the pushes, so the hub
# process sees a slow client, and what that has missed is said.

use EventSource::Error;
use EventSource::XS::Hub::Admin::Look;
use List::Util  qw(max);
use POSIX       ();
use Time::HiRes qw(time);

my $INTERVAL = 1;      # seconds between two attempts to follow
my $PAUSE    = 0.1;    # seconds between two pushes of what has been read
my $MAX_ROWS = 20;     # events of one of these pushes: the last ones; of those before, their number
my $NICE     = 10;     # a page takes no processor from the hub

# Takes code that connects to the hub process, the topic, and where the tail begins.
sub new {
    my ($class, $open, $topic, $start) = @_;
    return bless {open => $open, topic => $topic, start => $start, rows => [], skipped => 0}, $class;
}

# Public methods

sub run {
    my ($self, $connection) = @_;
    POSIX::nice($NICE);
    my $next = 0;
    while ($connection->is_open) {
        my $socket = $self->_socket;
        if (@{$self->{rows}} && time >= $next) {
            $connection->push({event => 'tail', json => {$self->_rows}});
            $next = time + $PAUSE;
        }
        my $what = $connection->wait($socket, @{$self->{rows}} ? max(0, $next - time) : $INTERVAL);
        last         if $what eq 'gone';
        $self->_read if $what eq 'readable';
    }
    return;
}

# Private functions and methods

# Reads what has come. At its end the stream is followed anew.
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

# The socket that the hub process writes to. The channel is followed, and anew after the end of the stream; undef until that
# succeeds.
sub _socket {
    my $self   = shift;
    my $stream = $self->{stream};
    return $stream->socket if $stream               && $stream->socket;
    return undef           if $self->{last_attempt} && time < $self->{last_attempt} + $INTERVAL;
    $self->{last_attempt} = time;
    local ($@, $SIG{__DIE__});
    return $self->{stream}->socket if eval {
        my $hub = $self->{open}->();
        $self->{stream} = $stream ? $stream->resume($hub) : $hub->follow($self->{topic}, {start => $self->{start}});
    };
    EventSource::Error->own($@);
    return undef;
}

1;
