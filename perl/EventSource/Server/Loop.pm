package EventSource::Server::Loop;
use strict;
use warnings;

# The event loop of the process, whichever it is: just what a supply needs of one.

our $VERSION = '0.100';

use Scalar::Util qw(weaken);

# How each loop calls back, once and when a filehandle is readable. What is returned ends that when it is let go of.
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

my %READABLE = (
    'AnyEvent' => sub {
        my ($handle, $code) = @_;
        return AnyEvent->io(fh => $handle, poll => 'r', cb => sub { $code->() });
    },
    'EV' => sub {
        my ($handle, $code) = @_;
        return EV::io(fileno $handle, EV::READ(), sub { $code->() });
    },
    'Mojo::IOLoop' => sub {
        my ($handle, $code) = @_;
        my $reactor = Mojo::IOLoop->singleton->reactor;
        $reactor->io($handle => sub { $code->() })->watch($handle, 1, 0);
        return _guard(sub { $reactor->remove($handle) });
    },
    'IO::Async' => sub {
        my ($handle, $code) = @_;
        my $loop = $IO::Async::Loop::ONE_TRUE_LOOP;
        $loop->watch_io(handle => $handle, on_read_ready => sub { $code->() });
        return _guard(sub { $loop->unwatch_io(handle => $handle, on_read_ready => 1) });
    },
);

# The loop that this process has loaded; undef if there is none. That it runs, or will, nobody can know.
sub at_hand {
    my $class = shift;
    my $name =
          $INC{'AnyEvent.pm'}                                         ? 'AnyEvent'
        : $INC{'EV.pm'}                                               ? 'EV'
        : $INC{'Mojo/IOLoop.pm'}                                      ? 'Mojo::IOLoop'
        : $INC{'IO/Async/Loop.pm'} && $IO::Async::Loop::ONE_TRUE_LOOP ? 'IO::Async'
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
    return $READABLE{$$self}->($handle, $code);
}

# Private functions

sub _guard {
    my $code = shift;
    return bless {code => $code}, 'EventSource::Server::Loop::Guard';
}

sub EventSource::Server::Loop::Guard::DESTROY {
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

EventSource::Server::Loop - The event loop that reads the supply of an EventSource::Server

=head1 SYNOPSIS

    use EventSource::Server::Loop;

    if (my $loop = EventSource::Server::Loop->at_hand) {
        my $timer = $loop->after(0.5, sub { print "half a second later\n" });
    }

=head1 DESCRIPTION

Timers and readable filehandles on AnyEvent, EV, Mojo::IOLoop or IO::Async, whichever the process has loaded.
L<EventSource::Server> uses this; an application has its own loop.

=head1 METHODS

=head2 at_hand

    my $loop = EventSource::Server::Loop->at_hand;

The first of AnyEvent, EV and Mojo::IOLoop that is loaded, or an IO::Async loop that was made; C<undef> if there is none.

=head2 after, every

    my $timer = $loop->after($seconds, sub { ... });
    my $timer = $loop->every($seconds, sub { ... });

Has the code called once, or again and again, until what is returned is let go of.

=head2 name

    my $name = $loop->name;

Which it is: C<AnyEvent>, C<EV>, C<Mojo::IOLoop> or C<IO::Async>.

=head2 readable

    my $watch = $loop->readable($handle, sub { ... });

Has the code called whenever the filehandle is readable, until what is returned is let go of.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
