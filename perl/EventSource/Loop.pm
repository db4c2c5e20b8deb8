package EventSource::Loop;
use strict;
use warnings;

# The event loop that the application runs in, whichever it is: just what streams and supplies need of one.

our $VERSION = '0.100';

use Scalar::Util qw(weaken);

# How each loop calls back: when a time is over, when it has its next turn, and when a handle can be read, or written to.
# What these return ends that when it is let go of.
my %AFTER = (
    'AnyEvent' => sub {
        my ($seconds, $code) = @_;
        return AnyEvent->timer(after => $seconds, cb => sub { $code->() });
    },
    'EV' => sub {
        my ($seconds, $code) = @_;
        return EV::timer($seconds, 0, sub { $code->() });
    },
    'Mojo::IOLoop' => sub {
        my ($seconds, $code) = @_;
        my $timer = Mojo::IOLoop->timer($seconds => sub { $code->() });
        return _guard(sub { Mojo::IOLoop->remove($timer) });
    },
    'IO::Async' => sub {
        my ($seconds, $code) = @_;
        my $loop  = $IO::Async::Loop::ONE_TRUE_LOOP;
        my $timer = $loop->watch_time(after => $seconds, code => sub { $code->() });
        return _guard(sub { $loop->unwatch_time($timer) });
    },
);

my %READY = (
    'AnyEvent' => sub {
        my ($handle, $writes, $code) = @_;
        return AnyEvent->io(fh => $handle, poll => $writes ? 'w' : 'r', cb => sub { $code->() });
    },
    'EV' => sub {
        my ($handle, $writes, $code) = @_;
        return EV::io($handle, $writes ? EV::WRITE() : EV::READ(), sub { $code->() });
    },
    'Mojo::IOLoop' => sub {
        my ($handle, $writes, $code) = (_handle(shift), @_);
        my $reactor = Mojo::IOLoop->singleton->reactor;
        $reactor->io($handle => sub { $code->() })->watch($handle, !$writes, $writes);
        return _guard(sub { $reactor->remove($handle) });
    },
    'IO::Async' => sub {
        my ($handle, $writes, $code) = (_handle(shift), @_);
        my $loop  = $IO::Async::Loop::ONE_TRUE_LOOP;
        my $ready = $writes ? 'on_write_ready' : 'on_read_ready';
        $loop->watch_io(handle => $handle, $ready => sub { $code->() });
        return _guard(sub { $loop->unwatch_io(handle => $handle, $ready => 1) });
    },
);

my %SOON = (
    'AnyEvent' => sub {
        my $code = shift;
        AnyEvent::postpone(\&$code);
    },
    'EV' => sub {
        my $code = shift;
        my $timer;
        $timer = EV::timer(0, 0, sub { undef $timer; $code->() });
    },
    'Mojo::IOLoop' => sub { Mojo::IOLoop->next_tick($_[0]) },
    'IO::Async'    => sub { $IO::Async::Loop::ONE_TRUE_LOOP->later($_[0]) },
);

# To ask AnyEvent would have it choose what it runs on, which is the application's to do.
sub at_hand {
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

# Public methods

sub after {
    my ($self, $seconds, $code) = @_;
    return $AFTER{$$self}->($seconds, $code);
}

sub every {
    my ($self, $seconds, $code) = @_;
    my $timer = {};
    weaken(my $still = $timer);
    my $tick;
    my $again = sub {
        return if !$still;
        $still->{next} = $self->after($seconds, $tick);
        return;
    };
    $tick = $timer->{tick} = sub {
        $again->();
        $code->();
    };
    weaken $tick;
    $again->();
    return $timer;
}

sub name { return ${$_[0]} }

sub readable {
    my ($self, $handle, $code) = @_;
    return $READY{$$self}->($handle, 0, $code);
}

sub soon {
    my ($self, $code) = @_;
    return !!0 if $$self eq 'Mojo::IOLoop' && !Mojo::IOLoop->is_running;
    $SOON{$$self}->($code);
    return !!1;
}

sub writable {
    my ($self, $handle, $code) = @_;
    return $READY{$$self}->($handle, 1, $code);
}

# Private functions

sub _guard {
    my $code = shift;
    return bless {code => $code}, 'EventSource::Loop::Guard';
}

# Some loops take no numbers. The descriptor of a number is closed with the watch.
sub _handle {
    my $handle = shift;
    return $handle if ref $handle || ref \$handle eq 'GLOB';
    open my $own, '<&=', $handle or return;
    return $own;
}

sub EventSource::Loop::Guard::DESTROY {
    my $self = shift;
    return if ${^GLOBAL_PHASE} eq 'DESTRUCT';
    local ($@, $!, $?);
    eval { $self->{code}->() };
    return;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Loop - The event loop that the application runs in

=head1 SYNOPSIS

    use EventSource::Loop;

    my $loop = EventSource::Loop->at_hand;
    print $loop ? 'there is ' . $loop->name : 'there is no event loop', "\n";

=head1 DESCRIPTION

What streams and supplies need of an event loop, by whichever the application has loaded: AnyEvent, EV, Mojo::IOLoop or
IO::Async. None is loaded for it.

=head1 METHODS

=head2 at_hand

    my $loop = EventSource::Loop->at_hand;
    my $loop = EventSource::Loop->at_hand(may_choose => 1);

The loop; C<undef> if there is none. That it runs, or will, nobody can know. AnyEvent counts if it has chosen what it runs
on, or with C<may_choose>, after all others.

=head2 after

    my $timer = $loop->after($seconds, sub { ... });

Calls a function once when so many seconds, fractions allowed, are over, unless the timer is let go of before.

=head2 every

    my $timer = $loop->every($seconds, sub { ... });

Calls a function every so many seconds until the timer is let go of.

=head2 name

    my $name = $loop->name;

C<AnyEvent>, C<EV>, C<Mojo::IOLoop> or C<IO::Async>.

=head2 readable

    my $watch = $loop->readable($handle, sub { ... });

Calls a function whenever a handle, or a descriptor's number, can be read, until the watch is let go of. With Mojo::IOLoop
and IO::Async a descriptor that was given by its number is closed with the watch.

=head2 soon

    my $is_asked = $loop->soon(sub { ... });

Has a function called in the loop's next turn. False with a Mojo::IOLoop that does not run.

=head2 writable

    my $watch = $loop->writable($handle, sub { ... });

As L</readable>, when it can be written to.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
