package Peer::Posted;
use strict;
use warnings;

# The base class of the peers to which a separate process publishes by POST /say. They make their own ids, so the number of an
# event is in its data.

use parent 'Peer';
use Load;
use Peer::Program;

my $TIMEOUT = 60;    # seconds

# Public methods

sub is_published_from_outside { return 1 }

sub number { return 'data' }

# A subclass has the command.
sub open {
    my ($self, %option) = @_;
    $self->{program} = Peer::Program->new($self->name);
    $self->{program}->run({PEER_PORT => $self->port}, $self->command);
    return if $option{resumes};
    $self->{publisher} = Load->start('publisher', $self->place_to_publish, way => 'post');
    $self->{publisher}->answer($TIMEOUT);
    return;
}

1;
