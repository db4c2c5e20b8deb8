package EventSource::XS::Test::Loop;
use strict;
use warnings;

# Waits for a condition or a handle while the process's event loop runs.

use EventSource::XS::Library;
use EventSource::XS::Loop;
use IO::Select;
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime);

# The longest single wait, in seconds. A callback that nothing wakes, such as one that another callback has deferred,
# runs after it.
my $SLICE = 0.05;

# One turn of each loop but AnyEvent, which has none.
my %TURN = (
    'EV'           => sub { EV::run(EV::RUN_ONCE()) },
    'IO::Async'    => sub { $IO::Async::Loop::ONE_TRUE_LOOP->loop_once },
    'Mojo::IOLoop' => sub { Mojo::IOLoop->singleton->reactor->one_tick },
);

# Public functions

sub turn {
    my ($seconds, @handles) = @_;
    $seconds = $seconds < 0 ? 0 : $seconds > $SLICE ? $SLICE : $seconds;
    my $loop = EventSource::XS::Loop->current;
    if ($loop) { _turn_loop($loop, $seconds, @handles) }
    else       { _turn_select($seconds, @handles) }
    EventSource::XS->dispatch;
    return;
}

sub wait_for {
    my ($condition, $seconds, @handles) = @_;
    my $deadline = clock_gettime(CLOCK_MONOTONIC) + $seconds;
    while (!$condition->()) {
        my $left = $deadline - clock_gettime(CLOCK_MONOTONIC);
        return !!0 if $left <= 0;
        turn($left, @handles);
    }
    return !!1;
}

# Private functions

sub _turn_loop {
    my ($loop, $seconds, @handles) = @_;
    my $done  = $loop->name eq 'AnyEvent' ? AnyEvent->condvar : undef;
    my $end   = sub { $done->send if $done };
    my @watch = ($loop->after($seconds, $end), map { $loop->readable($_, $end) } @handles);
    if   ($done) { $done->recv }
    else         { $TURN{$loop->name}->() }
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
