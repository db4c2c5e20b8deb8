package EventSource::Server::Emitter;
use strict;
use warnings;

# What a supply puts its events into, for one run of it. When that run is over it takes no more.

our $VERSION = '0.100';

use EventSource::Server::Event;

# The server, and what it wants to hear: events, a run's end, a run's failure.
sub new {
    my ($class, %param) = @_;
    return bless {%param, is_open => 1}, $class;
}

# Public methods

sub done {
    my $self = shift;
    return if !$self->close;
    $self->{on_done}->($self);
    return;
}

sub emit {
    my ($self, @event) = @_;
    my $fields = EventSource::Server::Event->fields_of(@event);
    return if !$self->{is_open};
    return $self->{on_event}->($fields);
}

sub is_open { return !!$_[0]{is_open} }

sub quit {
    my ($self, $why) = @_;
    return if !$self->close;
    $self->{on_quit}->($self, defined $why ? $why : 'it did not say why');
    return;
}

# For the server and what reads supplies

# Ends the run: nothing is taken any more, and what it holds is let go of. Whether it was open.
sub close {
    my $self   = shift;
    my $is_end = delete $self->{is_open};
    undef $self->{holds};
    return !!$is_end;
}

# Keeps something for as long as the run lasts.
sub hold {
    my ($self, $what) = @_;
    $self->{holds} = $what if $self->{is_open};
    return;
}

# Emits what a supply has given of which nobody stands above to be told that it is wrong: then the run fails.
sub take {
    my ($self, @event) = @_;
    local $@;
    return !!1 if eval { $self->emit(@event); 1 };
    $self->quit($@);
    return !!0;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Server::Emitter - What the supply of an EventSource::Server emits to

=head1 SYNOPSIS

    use EventSource::Server;

    my $es = EventSource::Server->new(
        supply => sub {
            my $emitter = shift;
            $emitter->emit($_) for 1 .. 3;
            $emitter->done;
        },
    );
    $es->out_supply->tap(sub { print @_ });

=head1 DESCRIPTION

A supply that is code is called with one of these. It is for one run of the supply: when the supply is done or has
failed, when the server is stopped or gone, it takes nothing any more, which is no error.

=head1 METHODS

=head2 done

    $emitter->done;

Says that nothing comes any more. Streams stay open: events may still be emitted to the server itself.

=head2 emit

    my $id = $emitter->emit($event);
    my $id = $emitter->emit($type => $data);

As L<EventSource::Server/emit>: returns the event's id, or C<undef> if the run is over, and croaks at the caller's line.

=head2 is_open

    my $open = $emitter->is_open;

Whether the run goes on. What emits from a loop of its own can end by this.

=head2 quit

    $emitter->quit($why);

Says that the supply has failed, as it does by dying: see L<EventSource::Server/When a supply fails>.

=head2 new, close, hold, take

For L<EventSource::Server>.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
