package EventSource::Server::Supply;
use strict;
use warnings;

# Taps: callbacks that receive the encoded events of an EventSource::Server.

our $VERSION = '0.100';

use EventSource::XS::ErrorLog;
use EventSource::XS::Settings;
use Scalar::Util qw(refaddr weaken);

my $SETTINGS = EventSource::XS::Settings->new('EventSource::Server');

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
    my ($self, $code, @callbacks) = @_;
    return $self->_tap(bytes => $code, @callbacks);
}

# Like tap, for another server whose supply is this object: with a hash of each event's fields, and without comments.
sub tap_fields {
    my ($self, $code, @callbacks) = @_;
    return $self->_tap(fields => $code, @callbacks);
}

# Private functions and methods

# Creates a tap. $form says what its code receives: "bytes" or "fields".
sub _tap {
    my ($self, $form, $code, @callbacks) = @_;
    $SETTINGS->refuse(undef, 'tap takes code') if ref $code ne 'CODE';
    my %callbacks = $SETTINGS->options('tap takes callbacks', \@callbacks, 'option %s of tap', qw(done quit));
    $SETTINGS->code($_ => $callbacks{$_}) for sort keys %callbacks;
    my $tap = bless {%callbacks, $form => $code, is_open => 1, server => $self->{server}},
        'EventSource::Server::Supply::Tap';
    weaken $tap->{server};
    delete $self->{taps}{$_} for grep { !$self->{taps}{$_} } keys %{$self->{taps}};
    weaken($self->{taps}{refaddr $tap} = $tap);
    $self->{server}->add_tap($tap);
    return $tap;
}

package EventSource::Server::Supply::Tap;

# Public methods

# Calls neither done nor quit.
sub close {
    my $self = shift;
    return                             if !delete $self->{is_open};
    $self->{server}->remove_tap($self) if $self->{server};
    return;
}

# Methods for EventSource::Server

# Closes the tap and calls done, or quit with a reason.
sub end {
    my ($self, $callback, @why) = @_;
    return if !$self->{is_open};
    $self->close;
    $self->_call($callback => @why) if $self->{$callback};
    return;
}

# Passes one event. $encode returns its bytes; it encodes once for all taps.
sub give {
    my ($self, $fields, $encode) = @_;
    return if !$self->{is_open};
    return $self->_call($self->{fields} ? (fields => {%$fields}) : (bytes => $encode->()));
}

# Passes bytes that are not an event, such as a comment.
sub give_bytes {
    my ($self, $bytes) = @_;
    $self->_call(bytes => $bytes) if $self->{is_open} && $self->{bytes};
    return;
}

# Private methods

# An exception of a callback must not reach the code that emits.
sub _call {
    my ($self, $name, @arguments) = @_;
    local $@;
    eval { $self->{$name}->(@arguments); 1 }
        or EventSource::XS::ErrorLog->write(undef, 'EventSource::Server: a tap died', $@);
    return;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Server::Supply - Tap the encoded events of an EventSource::Server

=head1 SYNOPSIS

    use EventSource::Server;

    my $es  = EventSource::Server->new;
    my $tap = $es->out_supply->tap(sub { print @_ }, done => sub { print ": stopped\n" });
    $es->emit(tick => 'one');    # event: tick
    $tap->close;                 # data: one

=head1 DESCRIPTION

L<EventSource::Server/out_supply> returns such an object. It keeps its server.

=head1 METHODS

=head2 tap

    my $tap = $supply->tap(sub { my $bytes = shift; ... }, done => sub { ... }, quit => sub { my $reason = shift; ... });

Call the code with each encoded event from now on, and with each L<keepalive|EventSource::Server/keepalive,
keepalive_interval>. C<done>, when the server is stopped, or C<quit>, when its supply fails, is the last call; both are
optional. If a callback dies, a warning says so, and the tap stays open.

Returns the tap, which need not be kept. C<< $tap->close >> ends it silently. Croaks if a callback is not code or has an
unknown name.

=head2 close

    $supply->close;

Close all taps that this object has made.

=cut
