package Test::EventSource::Loop;
use strict;
use warnings;

# Waits for a descriptor while whatever event loop this process has goes on.

our $VERSION = '0.100';

use EventSource::XS ();
use IO::Select;
use Time::HiRes qw(time);

# The longest wait at a time, in seconds: what nothing wakes, a callback that another has called later, runs after that.
my $SLICE = 0.05;

# Public functions

# Waits for so many seconds, a slice of it at the most, or until one of the handles is readable. Timers and watchers run
# meanwhile, and afterwards what waits for dispatch.
sub turn {
    my ($seconds, @handles) = @_;
    $seconds = $seconds < 0 ? 0 : $seconds > $SLICE ? $SLICE : $seconds;
    my $turn =
          $INC{'AnyEvent.pm'} && defined $AnyEvent::MODEL             ? \&_turn_anyevent
        : $INC{'EV.pm'}                                               ? \&_turn_ev
        : $INC{'Mojo/IOLoop.pm'}                                      ? \&_turn_mojo
        : $INC{'IO/Async/Loop.pm'} && $IO::Async::Loop::ONE_TRUE_LOOP ? \&_turn_io_async
        :                                                               \&_turn_select;
    $turn->($seconds, @handles);
    EventSource::XS->dispatch;
    return;
}

# Whether the condition came true within so many seconds. It is asked after each turn.
sub wait_for {
    my ($condition, $seconds, @handles) = @_;
    my $deadline = time + $seconds;
    while (!$condition->()) {
        my $left = $deadline - time;
        return !!0 if $left <= 0;
        turn($left, @handles);
    }
    return !!1;
}

# Private functions

sub _turn_anyevent {
    my ($seconds, @handles) = @_;
    my $done  = AnyEvent->condvar;
    my @watch = (AnyEvent->timer(after => $seconds, cb => sub { $done->send }));
    push @watch, AnyEvent->io(fh => $_, poll => 'r', cb => sub { $done->send }) for @handles;
    $done->recv;
    return;
}

sub _turn_ev {
    my ($seconds, @handles) = @_;
    my @watch = (
        EV::timer($seconds, 0, sub { }),
        map {
            EV::io(fileno $_, EV::READ(), sub { })
        } @handles
    );
    EV::run(EV::RUN_ONCE());
    return;
}

sub _turn_io_async {
    my ($seconds, @handles) = @_;
    my $loop = $IO::Async::Loop::ONE_TRUE_LOOP;
    $loop->watch_io(handle => $_, on_read_ready => sub { }) for @handles;
    $loop->loop_once($seconds);
    $loop->unwatch_io(handle => $_, on_read_ready => 1) for @handles;
    return;
}

sub _turn_mojo {
    my ($seconds, @handles) = @_;
    my $reactor = Mojo::IOLoop->singleton->reactor;
    my $timer   = $reactor->timer($seconds => sub { });
    $reactor->io($_ => sub { })->watch($_, 1, 0) for @handles;
    $reactor->one_tick;
    $reactor->remove($_) for $timer, @handles;
    return;
}

# Where native streams have begun here, what has happened to them shows in a descriptor.
sub _turn_select {
    my ($seconds, @handles) = @_;
    my $select = IO::Select->new(@handles);
    my $number = $INC{'EventSource/Stream/Native.pm'} ? eval { EventSource::XS->notify_fd } : undef;
    $select->add($number) if defined $number;
    if   ($select->count) { $select->can_read($seconds) }
    else                  { select undef, undef, undef, $seconds }    ## no critic (ProhibitSleepViaSelect)
    return;
}

1;
__END__

=encoding utf8

=head1 NAME

Test::EventSource::Loop - Waits while an event loop goes on

=head1 SYNOPSIS

    use Test::EventSource::Loop;

    my $deadline = time + 1;
    my $came     = Test::EventSource::Loop::wait_for(sub { time > $deadline }, 5);

=head1 DESCRIPTION

Whichever of AnyEvent, EV, Mojo::IOLoop and IO::Async is in use here goes on during a wait; without one, what can be
waited for is a descriptor. After each turn L<EventSource::XS/dispatch> runs.

=head1 FUNCTIONS

=head2 turn

    Test::EventSource::Loop::turn($seconds, @handles);

Waits until one of the handles is readable, and never longer than so many seconds or a twentieth of one.

=head2 wait_for

    my $came = Test::EventSource::Loop::wait_for(sub { ... }, $seconds, @handles);

Turns until the condition is true or the time is up, and returns which.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
