package EventSource::Server::Emitter;
use strict;
use warnings;

# Receives the events of one run of a supply. After the run's end it ignores further events.

our $VERSION = '0.100';

use EventSource::Server::Event;

# Takes three callbacks: on_event gets an event's fields, on_done the emitter, on_quit the emitter and a reason.
sub new {
    my ($class, %callbacks) = @_;
    return bless {%callbacks, is_open => 1}, $class;
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
    my ($self, $reason) = @_;
    return if !$self->close;
    $self->{on_quit}->($self, defined $reason ? $reason : 'it did not say why');
    return;
}

# Methods for EventSource::Server and EventSource::XS::Server::Source

sub close {
    my $self     = shift;
    my $was_open = delete $self->{is_open};
    undef $self->{held};
    return !!$was_open;
}

sub hold {
    my ($self, $value) = @_;
    $self->{held} = $value if $self->{is_open};
    return;
}

# The caller is an event loop, which cannot handle an exception: an invalid event fails the run instead.
sub take {
    my ($self, @event) = @_;
    local ($@, $SIG{__DIE__});
    return !!1 if eval { $self->emit(@event); 1 };
    $self->quit($@);
    return !!0;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Server::Emitter - Emit the events of a supply

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

The code of a L<supply|EventSource::Server/supply> is called with an emitter. An emitter serves one run of the supply. The
run ends when the supply is done or has failed, or when the server is stopped or freed. Events that are emitted after that
are ignored, which is not an error.

=head1 METHODS

=head2 done

    $emitter->done;

End the run. Streams and taps stay open: events can still be emitted to the server itself.

=head2 emit

    my $id = $emitter->emit($event);
    my $id = $emitter->emit($type => $data);

Emit an event, as L<EventSource::Server/emit> does. Returns the event's id, or C<undef> if the run has ended, or with a
warning if the hub process cannot be reached (L<EventSource::Server/Several workers>). Croaks at
the caller's line if the argument is not an event.

=head2 is_open

    my $open = $emitter->is_open;

Return true until the run ends. A supply with its own loop can end the loop when this is false.

=head2 quit

    $emitter->quit($reason);

End the run as failed, see L<EventSource::Server/When a supply fails>. C<$reason> is the reason, a string or an exception.

=head1 METHODS FOR SERVERS

=head2 new

    my $emitter = EventSource::Server::Emitter->new(
        on_event => sub { my $fields = shift; ... },
        on_done  => sub { my $emitter = shift; ... },
        on_quit  => sub { my ($emitter, $reason) = @_; ... },
    );

Create an emitter. All three callbacks are required. C<on_event> receives a hash of fields and returns the event's id.

=head2 close

    my $was_open = $emitter->close;

End the run without calling a callback, and release the held value. Returns true if the run had not ended before.

=head2 hold

    $emitter->hold($value);

Keep a value, such as a watcher, until the run ends. Has no effect after the end.

=head2 take

    my $taken = $emitter->take($event);

Emit an event like L</emit>, but fail the run (L</quit>) if the argument is not an event. Returns false in that case.

=head1 SEE ALSO

L<EventSource::Server>, L<EventSource::Server::Event>

=cut
