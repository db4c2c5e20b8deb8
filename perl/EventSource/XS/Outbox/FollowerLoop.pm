package EventSource::XS::Outbox::FollowerLoop;
use strict;
use warnings;

# Calls the steps of an EventSource::XS::Outbox::Follower: in a process of its own, or in the event loop of a worker. Between
# two steps without a pause the loop has its turn.

use IO::Select;
use Scalar::Util qw(weaken);
use Time::HiRes  ();

my $LATE = 5;    # seconds

# Public methods

# The follower runs as long as the object that is returned.
sub in_loop {
    my ($class, $follower, $loop) = @_;
    my $self = bless {begun_at => time, follower => $follower, loop => $loop, process => $$}, $class;
    $self->_continue(0);
    return $self;
}

# Returns true if the loop should have called a step, and has not.
sub is_still { return defined $_[0]{begun_at} && time - $_[0]{begun_at} > $LATE }

# Runs until INT or TERM.
sub until_signal {
    my ($class, $follower) = @_;
    my $is_ended;
    local @SIG{qw(INT TERM)} = (sub { $is_ended = 1 }) x 2;
    while (!$is_ended) {
        my $pause = $follower->step;
        $class->_wait($follower, $pause) if $pause && !$is_ended;
    }
    $follower->stop;
    return;
}

sub stop {
    my $self = shift;
    delete @$self{qw(timer watches)};
    my $follower = delete $self->{follower} or return;
    $follower->stop if $self->{process} == $$;
    return;
}

sub DESTROY {
    my $self = shift;
    local ($@, $!, $?);
    warn
        "EventSource::Outbox: the follower is freed before it has begun: keep what follow returns; in a file for plackup write"
        . " our \$follower = ...\n"
        if $self->{follower} && defined $self->{begun_at} && $self->{process} == $$ && ${^GLOBAL_PHASE} ne 'DESTRUCT';
    $self->stop;
    return;
}

# Private methods

# A signal ends the wait, too.
sub _wait {
    my ($class, $follower, $seconds) = @_;
    my @descriptors = $follower->descriptors;
    return @descriptors ? IO::Select->new(@descriptors)->can_read($seconds) : Time::HiRes::sleep($seconds);
}

sub _continue {
    my ($self, $pause) = @_;
    weaken(my $weak = $self);
    my $step = sub { $weak->_step if $weak };
    $self->{timer}   = $self->{loop}->after($pause, $step);
    $self->{watches} = $pause ? [map { $self->_watch($_, $step) } $self->{follower}->descriptors] : [];
    return;
}

# A loop closes the handle that it watches, so it has a duplicate.
sub _watch {
    my ($self, $descriptor, $step) = @_;
    open my $handle, '<&', $descriptor or return;
    return [$handle, $self->{loop}->readable($handle, $step)];
}

sub _step {
    my $self = shift;
    delete @$self{qw(begun_at timer watches)};
    my $follower = $self->{follower} or return;
    if ($self->{process} != $$) {
        $self->{process} = $$;
        $follower->begin_anew;
    }
    return $self->_continue($follower->step);
}

1;
