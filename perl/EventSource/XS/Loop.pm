package EventSource::XS::Loop;
use strict;
use warnings;

# The event loop of the application, whichever it is, with only the operations that streams and supplies need.
#
# It never loads an event loop itself. Timers and watches are canceled when the returned value is destroyed, so keep it as
# long as they should run.

use Scalar::Util qw(weaken);

# For each loop, a function that calls code once after some seconds. The timer is canceled when the returned value is
# destroyed.
my %AFTER = (
    'AnyEvent'     => sub { AnyEvent->timer(after => $_[0], cb => $_[1]) },
    'EV'           => sub { EV::timer($_[0], 0, $_[1]) },
    'Mojo::IOLoop' => sub {
        my $timer = Mojo::IOLoop->timer(@_);
        return _guard(sub { Mojo::IOLoop->remove($timer) });
    },
    'IO::Async' => sub {
        my ($seconds, $code) = @_;
        my $loop  = $IO::Async::Loop::ONE_TRUE_LOOP;
        my $timer = $loop->watch_time(after => $seconds, code => $code);
        return _guard(sub { $loop->unwatch_time($timer) });
    },
);

# For each loop, a function that calls code whenever a handle is ready. The watch ends when the returned value is
# destroyed.
my %READY = (
    'AnyEvent'     => sub { AnyEvent->io(fh => $_[0], poll => $_[1] ? 'w' : 'r', cb => $_[2]) },
    'EV'           => sub { EV::io($_[0], $_[1] ? EV::WRITE() : EV::READ(), $_[2]) },
    'Mojo::IOLoop' => sub {
        my $handle = _handle(shift) or return;
        my ($is_write, $code) = @_;
        my $reactor = Mojo::IOLoop->singleton->reactor;
        $reactor->io($handle => $code)->watch($handle, !$is_write, $is_write);
        return _guard(sub { $reactor->remove($handle) });
    },
    'IO::Async' => sub {
        my $handle = _handle(shift) or return;
        my ($is_write, $code) = @_;
        my $loop  = $IO::Async::Loop::ONE_TRUE_LOOP;
        my $ready = $is_write ? 'on_write_ready' : 'on_read_ready';
        $loop->watch_io(handle => $handle, $ready => $code);
        return _guard(sub { $loop->unwatch_io(handle => $handle, $ready => 1) });
    },
);

# For each loop, a function that calls code in its next turn.
my %NEXT_TICK = (
    'AnyEvent' => sub { AnyEvent::postpone(\&{$_[0]}) },
    'EV'       => sub {
        my $code = shift;
        my $timer;
        $timer = EV::timer(0, 0, sub { undef $timer; $code->() });
    },
    'Mojo::IOLoop' => sub { Mojo::IOLoop->next_tick($_[0]) },
    'IO::Async'    => sub { $IO::Async::Loop::ONE_TRUE_LOOP->later($_[0]) },
);

# AnyEvent's own detection is not called: it would choose the loop to run on, and that is for the application to do.
sub current {
    my ($class, %option) = @_;
    my $name =
          $INC{'AnyEvent.pm'} && defined $AnyEvent::MODEL             ? 'AnyEvent'
        : $INC{'EV.pm'}                                               ? 'EV'
        : $INC{'Mojo/IOLoop.pm'}                                      ? 'Mojo::IOLoop'
        : $INC{'IO/Async/Loop.pm'} && $IO::Async::Loop::ONE_TRUE_LOOP ? 'IO::Async'
        : $INC{'AnyEvent.pm'} && $option{may_choose}                  ? 'AnyEvent'
        :                                                               return;
    return bless \$name, $class;
}

# The event loop with this name, which the application runs.
sub named {
    my ($class, $name) = @_;
    return bless \$name, $class;
}

# Public methods

# Call a function once, after a number of seconds (from 0, fractions allowed).
sub after {
    my ($self, $seconds, $code) = @_;
    return $AFTER{$$self}->($seconds, sub { $code->() });    # the loops give arguments
}

# Call a function again and again, each time after a number of seconds (above 0, fractions allowed).
sub every {
    my ($self, $seconds, $code) = @_;
    my $timer = {};
    weaken(my $weak_timer = $timer);
    my $tick;
    my $start_next = sub {
        return if !$weak_timer;
        $weak_timer->{next} = $self->after($seconds, $tick);
        return;
    };
    $tick = $timer->{tick} = sub {
        $start_next->();
        $code->();
    };
    weaken $tick;
    $start_next->();
    return $timer;
}

sub name { return ${$_[0]} }

# Call a function in the loop's next turn. Returns false, and does not call it, if the loop is a Mojo::IOLoop that is not
# running.
sub next_tick {
    my ($self, $code) = @_;
    return !!0 if $$self eq 'Mojo::IOLoop' && !Mojo::IOLoop->is_running;
    $NEXT_TICK{$$self}->($code);
    return !!1;
}

# Call a function whenever a handle, or a descriptor given by its number, is readable. Returns the watch, or undef if there is
# no descriptor for a copy.
sub readable {
    my ($self, $handle, $code) = @_;
    return $READY{$$self}->($handle, 0, sub { $code->() });
}

# Call a function whenever a handle is writable; otherwise as readable.
sub writable {
    my ($self, $handle, $code) = @_;
    return $READY{$$self}->($handle, 1, sub { $code->() });
}

# Private functions

sub _guard {
    my $code = shift;
    return bless {code => $code}, 'EventSource::XS::Loop::Guard';
}

# Mojo::IOLoop and IO::Async do not accept a descriptor number. Somebody else owns that descriptor and closes it, so the handle
# has a copy.
sub _handle {
    my $handle = shift;
    return $handle if ref $handle || ref \$handle eq 'GLOB';
    open my $copy, '<&', $handle or return undef;
    return $copy;
}

sub EventSource::XS::Loop::Guard::DESTROY {
    my $self = shift;
    return if ${^GLOBAL_PHASE} eq 'DESTRUCT';
    local ($@, $!, $?, $SIG{__DIE__});
    eval { $self->{code}->() };
    return;
}

1;
