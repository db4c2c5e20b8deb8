package EventSource::Server::Supply;
use strict;
use warnings;

# The events of an EventSource::Server, encoded, for whoever wants them otherwise than as a stream.

our $VERSION = '0.100';

use Carp         qw(croak);
use Scalar::Util qw(refaddr weaken);

our @CARP_NOT = qw(EventSource::Server::Source);

my %SAID = (done => 1, quit => 1);

sub new {
    my ($class, $server) = @_;
    return bless {server => $server, taps => {}}, $class;
}

# Public methods

sub close {
    my $self = shift;
    $_->close for grep { defined } values %{$self->{taps}};
    return;
}

sub tap {
    my ($self, $code, %said) = @_;
    return $self->_tap(bytes => $code, %said);
}

# Private methods

# A tap for one of bytes and fields, and what ends it.
sub _tap {
    my ($self, $wanted, $code, %said) = @_;
    croak 'EventSource::Server: tap takes code' if ref $code ne 'CODE';
    for my $name (sort keys %said) {
        croak "EventSource::Server: tap does not know '$name'" if !$SAID{$name};
        croak "EventSource::Server: tap takes code for $name"  if defined $said{$name} && ref $said{$name} ne 'CODE';
    }
    my $tap = bless {%said, $wanted => $code, is_open => 1, server => $self->{server}},
        'EventSource::Server::Supply::Tap';
    weaken $tap->{server};
    delete $self->{taps}{$_} for grep { !$self->{taps}{$_} } keys %{$self->{taps}};
    weaken($self->{taps}{refaddr $tap} = $tap);
    $self->{server}->_add_tap($tap);
    return $tap;
}

# For another server, which has events from this one rather than bytes.
sub _tap_fields {
    my ($self, $code, %said) = @_;
    return $self->_tap(fields => $code, %said);
}

package EventSource::Server::Supply::Tap;

# Ends it without a word.
sub close {
    my $self = shift;
    return                              if !delete $self->{is_open};
    $self->{server}->_remove_tap($self) if $self->{server};
    return;
}

# Hands on one event: the fields, and what makes bytes of them if nobody has yet.
sub _give {
    my ($self, $fields, $encode) = @_;
    return if !$self->{is_open};
    return $self->_call($self->{fields} ? (fields => {%$fields}) : (bytes => $encode->()));
}

# Bytes that are no event.
sub _give_bytes {
    my ($self, $bytes) = @_;
    $self->_call(bytes => $bytes) if $self->{is_open} && $self->{bytes};
    return;
}

# Ends it: done, or quit with a reason.
sub _end {
    my ($self, $how, @why) = @_;
    return if !$self->{is_open};
    $self->close;
    $self->_call($how => @why) if $self->{$how};
    return;
}

# What it was given may die; who emits is not to die of that.
sub _call {
    my ($self, $name, @arguments) = @_;
    local $@;
    eval { $self->{$name}->(@arguments); 1 } or warn "EventSource::Server: a tap died: $@";
    return;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Server::Supply - The events of an EventSource::Server, as bytes

=head1 SYNOPSIS

    use EventSource::Server;

    my $es  = EventSource::Server->new;
    my $tap = $es->out_supply->tap(sub { print @_ }, done => sub { print ": stopped\n" });
    $es->emit(tick => 'one');    # event: tick
    $tap->close;                 # data: one

=head1 DESCRIPTION

What L<EventSource::Server/out_supply> returns. It keeps its server.

=head1 METHODS

=head2 tap

    my $tap = $supply->tap(sub { my $bytes = shift; ... }, done => sub { ... }, quit => sub { my $why = shift; ... });

Has the code called with each event from here on, encoded (L<EventSource::XS/format_event>), and with a comment where
L<EventSource::Server/keepalive> says so; C<done> when the server is stopped, at once if it has been; C<quit> when its
supply has failed. One of these two is the last call. The first tap starts the server's supply. Code that dies causes a
warning, and the next event is its own again.

A tap need not be kept. C<< $tap->close >> ends it, and nothing is called any more. Croaks if given anything but code, or
an unknown name.

=head2 close

    $supply->close;

Closes all taps that were made by this object; C<out_supply> returns a new one each time.

=head2 new

For L<EventSource::Server>.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
