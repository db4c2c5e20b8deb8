package EventSource::Loop;
use strict;
use warnings;

# The event loop that the application runs in, if it runs in one: AnyEvent, EV, Mojo::IOLoop or IO::Async.

our $VERSION = '0.100';

# Each is told whether the handle is to be written to, rather than read from.
my %READY = (
    AnyEvent => sub {
        my ($handle, $writes, $code) = @_;
        return AnyEvent->io(fh => $handle, poll => $writes ? 'w' : 'r', cb => $code);
    },
    EV => sub {
        my ($handle, $writes, $code) = @_;
        return EV::io($handle, $writes ? EV::WRITE() : EV::READ(), $code);
    },
    'IO::Async' => sub {
        my ($handle, $writes, $code) = (_handle(shift), @_);
        my $loop = $IO::Async::Loop::ONE_TRUE_LOOP;
        my $ready = $writes ? 'on_write_ready' : 'on_read_ready';
        $loop->watch_io(handle => $handle, $ready => $code);
        return EventSource::Loop::Guard->new(sub { $loop->unwatch_io(handle => $handle, $ready => 1) });
    },
    Mojo => sub {
        my ($handle, $writes, $code) = (_handle(shift), @_);
        my $reactor = Mojo::IOLoop->singleton->reactor;
        $reactor->io($handle => $code)->watch($handle, !$writes, $writes);
        return EventSource::Loop::Guard->new(sub { $reactor->remove($handle) });
    },
);

my %SOON = (
    AnyEvent => sub { AnyEvent::postpone(\&{$_[0]}) },
    EV       => sub {
        my $code = shift;
        my $timer;
        $timer = EV::timer(0, 0, sub { undef $timer; $code->() });
    },
    'IO::Async' => sub { $IO::Async::Loop::ONE_TRUE_LOOP->later($_[0]) },
    Mojo        => sub { Mojo::IOLoop->next_tick($_[0]) },
);

my %EVERY = (
    AnyEvent => sub {
        my ($seconds, $code) = @_;
        return AnyEvent->timer(after => $seconds, interval => $seconds, cb => $code);
    },
    EV => sub {
        my ($seconds, $code) = @_;
        return EV::timer($seconds, $seconds, $code);
    },
    'IO::Async' => sub {
        my ($seconds, $code) = @_;
        my $loop = $IO::Async::Loop::ONE_TRUE_LOOP;
        my ($timer, $again);
        $again = sub { $timer = $loop->watch_time(after => $seconds, code => $again); $code->() };
        $timer = $loop->watch_time(after => $seconds, code => $again);
        return EventSource::Loop::Guard->new(sub { $loop->unwatch_time($timer); undef $again });
    },
    Mojo => sub {
        my ($seconds, $code) = @_;
        my $id = Mojo::IOLoop->recurring($seconds => $code);
        return EventSource::Loop::Guard->new(sub { Mojo::IOLoop->remove($id) });
    },
);

# Public functions

# Calls a function every so many seconds, until what this returns is gone; undef where there is no loop.
sub every {
    my ($seconds, $code) = @_;
    my $loop = _loop() or return;
    return $EVERY{$loop}->($seconds, $code);
}

# Calls a function whenever a handle is readable, until what this returns is gone; undef where there is no loop.
sub readable {
    my ($handle, $code) = @_;
    my $loop = _loop() or return;
    return $READY{$loop}->($handle, 0, $code);
}

# Has a function called by the loop, not from within. False where none runs yet.
sub soon {
    my $code = shift;
    my $loop = _loop() or return !!0;
    return !!0 if $loop eq 'Mojo' && !Mojo::IOLoop->is_running;
    $SOON{$loop}->($code);
    return !!1;
}

# The same of a handle that takes something.
sub writable {
    my ($handle, $code) = @_;
    my $loop = _loop() or return;
    return $READY{$loop}->($handle, 1, $code);
}

# Private functions

# Some loops take no numbers. The descriptor of a number is closed with the watch.
sub _handle {
    my $handle = shift;
    return $handle if ref $handle || ref \$handle eq 'GLOB';
    open my $own, '<&=', $handle or return;
    return $own;
}

# Only what the application has chosen itself: to ask AnyEvent would have it choose.
sub _loop {
    return
          $INC{'AnyEvent.pm'} && defined $AnyEvent::MODEL             ? 'AnyEvent'
        : $INC{'EV.pm'}                                               ? 'EV'
        : $INC{'Mojo/IOLoop.pm'}                                      ? 'Mojo'
        : $INC{'IO/Async/Loop.pm'} && $IO::Async::Loop::ONE_TRUE_LOOP ? 'IO::Async'
        :                                                               undef;
}

# What ends a watch when it is gone.
package EventSource::Loop::Guard;

sub new { return bless \$_[1], $_[0] }

sub DESTROY {
    my $self = shift;
    local $@;
    eval { $$self->() };
    return;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Loop - The event loop that the application runs in

=head1 SYNOPSIS

    use EventSource::Loop;

    EventSource::Loop::soon(sub { print "later\n" }) or print "there is no event loop\n";

=head1 DESCRIPTION

What streams need of an event loop, by whichever the application runs in: AnyEvent (if it has chosen its backend), EV,
Mojo::IOLoop or IO::Async, in this order. None is loaded for it.

=head1 FUNCTIONS

=head2 every

    my $guard = EventSource::Loop::every($seconds, sub { ... });

Calls a function every so many seconds, fractions allowed, until the guard is gone. C<undef> where there is no loop.

=head2 readable

    my $guard = EventSource::Loop::readable($handle, sub { ... });

Calls a function whenever a handle, or a descriptor's number, is readable, until the guard is gone. C<undef> where there is
no loop. With Mojo::IOLoop and IO::Async a descriptor that was given by its number is closed with the guard.

=head2 soon

    my $is_asked = EventSource::Loop::soon(sub { ... });

Has a function called by the loop, not from within. False where none runs yet.

=head2 writable

    my $guard = EventSource::Loop::writable($handle, sub { ... });

As L</readable>, of a handle that can be written to.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
