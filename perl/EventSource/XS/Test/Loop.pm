package EventSource::XS::Test::Loop;
use strict;
use warnings;

# Waits for a condition or a handle while the process's event loop runs.

use EventSource::XS::Library;
use EventSource::XS::Loop;
use IO::Select;
use Time::HiRes qw(time);

# The longest single wait, in seconds. A callback that nothing wakes, such as one that another callback has deferred,
# runs after it.
my $SLICE = 0.05;

my %TURN = (
    'AnyEvent'     => \&_turn_anyevent,
    'EV'           => \&_turn_ev,
    'IO::Async'    => \&_turn_io_async,
    'Mojo::IOLoop' => \&_turn_mojo,
);

# Public functions

sub turn {
    my ($seconds, @handles) = @_;
    $seconds = $seconds < 0 ? 0 : $seconds > $SLICE ? $SLICE : $seconds;
    my $loop = EventSource::XS::Loop->current;
    my $turn = $loop ? $TURN{$loop->name} : \&_turn_select;
    $turn->($seconds, @handles);
    EventSource::XS->dispatch;
    return;
}

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

# Events of native streams make a descriptor readable.
sub _turn_select {
    my ($seconds, @handles) = @_;
    my $select = IO::Select->new(@handles);
    my $number = $INC{'EventSource/XS/Stream/Native.pm'} ? EventSource::XS::Stream::Native->notify_number : undef;
    $select->add($number) if defined $number;
    if   ($select->count) { $select->can_read($seconds) }
    else                  { select undef, undef, undef, $seconds }    ## no critic (ProhibitSleepViaSelect)
    return;
}

1;
