package EventSource::Server::Emitter;
use strict;
use warnings;

# Receives the events of one run of a supply. After the run's end it ignores further events.

our $VERSION = '0.100';

use EventSource::Server::Event;

# Takes two callbacks: on_event gets an event's fields, on_quit the emitter and a reason.
sub new {
    my ($class, %callbacks) = @_;
    return bless {%callbacks, is_open => 1}, $class;
}

# Public methods

sub done {
    my $self = shift;
    $self->close;
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

# Ends the run without calling a callback, and releases the kept value. Returns true if the run had not ended before.
sub close {
    my $self     = shift;
    my $was_open = delete $self->{is_open};
    undef $self->{kept};
    return !!$was_open;
}

# Keeps a value, such as a watcher, until the run ends.
sub keep {
    my ($self, $value) = @_;
    $self->{kept} = $value if $self->{is_open};
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

The code of a L<supply|EventSource::Server/supply> is called with an emitter for one run. It ends when the supply is done or
has failed, or when the server is stopped or freed. Later events are ignored.

=head1 METHODS

=head2 done

    $emitter->done;

End the run. Streams and taps stay open: the server itself can still emit.

=head2 emit

    my $id = $emitter->emit($event);
    my $id = $emitter->emit($type => $data);

Emit an event, as L<EventSource::Server/emit> does. Returns C<undef> if the run has ended, or with a warning if the hub
process cannot be reached (L<EventSource::Server/Several workers>).

=head2 is_open

    my $open = $emitter->is_open;

Return true until the run ends.

=head2 quit

    $emitter->quit($reason);

End the run as failed (L<EventSource::Server/When a supply fails>). The reason is a string or an exception.

=cut
