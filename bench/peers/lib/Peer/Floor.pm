package Peer::Floor;
use strict;
use warnings;

# The floor: the server of bench/load that writes the same events and does nothing else. It pushes in its own process.

use parent 'Peer';
use Target;

# Public methods

sub has_publisher { return 0 }

sub held { return $_[0]{target}->held }

sub open {
    my $self = shift;
    $self->{target} = Target->start($self->target);
    return;
}

sub pids { return $_[0]{target}->pids }

sub port { return $_[0]{target}->port }

sub push {
    my ($self, @plan) = @_;
    return $self->{target}->push(@plan);
}

sub stop { return $_[0]{target}->stop }

# Returns the name of its Target.
sub target { return 'floor' }

sub version { return 'one thread, epoll, a send for each event and stream' }

1;
