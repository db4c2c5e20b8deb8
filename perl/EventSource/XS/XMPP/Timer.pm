package EventSource::XS::XMPP::Timer;
use strict;
use warnings;

# A task that a part of the bridge does later. It calls a method of its owner once, in the event loop: after some seconds, or
# after the pause of an attempt, which grows with each one until reset. Setting it again takes the place of what was set. It
# does not keep its owner alive.

use AnyEvent;
use List::Util   qw(min);
use Scalar::Util qw(weaken);

my $FIRST_PAUSE = 1;    # seconds, doubled with each attempt

# Options: most, the longest pause in seconds.
sub new {
    my ($class, $owner, %option) = @_;
    my $self = bless {owner => $owner, most => $option{most}, attempts => 0}, $class;
    weaken $self->{owner};
    return $self;
}

# Public methods

sub after {
    my ($self, $seconds, $method) = @_;
    weaken(my $weak = $self);
    $self->{guard} = AnyEvent->timer(after => $seconds, cb => sub { $weak->_call($method) if $weak });
    return;
}

# Returns true if attempts have failed since the last reset.
sub has_failed { return !!$_[0]{attempts} }

sub is_set { return !!$_[0]{guard} }

sub reset {
    my $self = shift;
    $self->{attempts} = 0;
    return;
}

# The pauses have jitter, so that many bridges do not come back at the same moment.
sub retry {
    my ($self, $method) = @_;
    my $pause = min($self->{most}, $FIRST_PAUSE * 2**min($self->{attempts}++, 20));
    return $self->after($pause * (0.5 + rand 0.5), $method);
}

sub stop {
    my $self = shift;
    delete $self->{guard};
    return;
}

# Private methods

sub _call {
    my ($self, $method) = @_;
    delete $self->{guard};
    my $owner = $self->{owner} or return;
    $owner->$method;
    return;
}

1;
