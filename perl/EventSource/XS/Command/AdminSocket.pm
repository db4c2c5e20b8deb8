package EventSource::XS::Command::AdminSocket;
use strict;
use warnings;

# The sockets of `eventsource admin`: the one that listens, and those that it accepts, each with the head of its request. Any
# user of the machine can connect. So the heads are read side by side, and none is waited for.

use parent 'IO::Socket::INET';
use IO::Select;
use List::Util  qw(max);
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime);

my $MAX_PENDING = 64;        # connections without a complete head: of more, the oldest ends
my $MAX_HEAD    = 65_536;    # bytes
my $PATIENCE    = 2;         # seconds for a head

# Public methods

# The next connection whose head is complete, or too long.
sub accept {
    my $self = shift;
    my ($pending, $whole) = ${*$self}{eventsource_pending} ||= [];
    until ($whole) {
        my $patience = _end_old($pending);
        for my $socket (IO::Select->new($self, @$pending)->can_read($patience)) {
            if ($socket == $self) {
                push @$pending, map { _begun($_) } $self->SUPER::accept || ();
                next;
            }
            my $is_read = $socket->_read_head;
            next if $is_read && !${*$socket}{eventsource_is_whole};
            @$pending = grep { $_ != $socket } @$pending;
            $whole    = $socket and last if $is_read;
        }
    }
    return $whole;
}

# The bytes that have come: the head, and perhaps the beginning of the body.
sub head { return ${*{$_[0]}}{eventsource_head} }

# Private functions and methods

sub _begun {
    my $socket = shift;
    binmode $socket;    # as in EventSource::XS::SocketPair
    @{*$socket}{qw(eventsource_head eventsource_until)} = ('', $PATIENCE + clock_gettime(CLOCK_MONOTONIC));
    return $socket;
}

# Returns for how many seconds the oldest connection may still wait.
sub _end_old {
    my $pending = shift;
    my $now     = clock_gettime(CLOCK_MONOTONIC);
    while (@$pending) {
        my $left = ${*{$pending->[0]}}{eventsource_until} - $now;
        return $left if $left > 0 && @$pending <= $MAX_PENDING;
        shift @$pending;
    }
    return undef;
}

# False if the client has gone.
sub _read_head {
    my $self = shift;
    my $head = \${*$self}{eventsource_head};
    my $from = max(0, length($$head) - 3);
    sysread $self, $$head, $MAX_HEAD, length $$head or return !!0;
    ${*$self}{eventsource_is_whole} = length $$head >= $MAX_HEAD || substr($$head, $from) =~ /\n\r?\n/;
    return !!1;
}

1;
