package Dashboard::Figures;
use strict;
use warnings;

# What the machine does and its workers hold, as JSON: worked out by each process every so often, once for all viewers.

use Dashboard::Machine;
use JSON::MaybeXS ();
use List::Util    qw(sum0);
use Time::HiRes   qw(time);

my $JSON = JSON::MaybeXS->new(utf8 => 1, canonical => 1);

# Seconds between two of them.
sub new {
    my ($class, $workers, $every) = @_;
    return bless {workers => $workers, every => $every, number => 0, next => 0}, $class;
}

# Public methods

# Their number, which grows, and the figures.
sub latest {
    my $self = shift;
    my $now  = time;
    $self->_look($now) if $now >= $self->{next};
    return @$self{qw(number json)};
}

# Private methods

sub _look {
    my ($self, $now) = @_;
    my $every = $self->{every};
    if ($now - $self->{next} > 2 * $every) {    # nobody was here: what was used since then is no figure of now
        $self->{machine} = Dashboard::Machine->new;
        $self->{next}    = $now;
    }
    $self->{next} += $every;
    $self->{workers}->record;
    my @workers = $self->{workers}->all;
    my %figures = (%{$self->{machine}->figures}, workers => \@workers, viewers => sum0(map { $_->{streams} } @workers));
    $self->{json} = $JSON->encode(\%figures);
    $self->{number}++;
    return;
}

1;
