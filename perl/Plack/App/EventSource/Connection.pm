package Plack::App::EventSource::Connection;
use strict;
use warnings;

# One client's open response, as the application sees it. It stands on a stream, which is the server's own writer or
# anything else that answers write, close, drop, is_open and on_close; or on two callbacks of the application's.

our $VERSION = '0.100';

use Carp qw(croak);
use EventSource::Gone;
use EventSource::XS ();

sub new {
    my ($class, %param) = @_;
    return bless {%param}, $class;
}

# Public methods

sub close {
    my $self = shift;
    return $self->{close_cb}->() if $self->{close_cb};
    $self->{stream}->close;
    return;
}

sub is_open {
    my $self = shift;
    return $self->{stream} ? $self->{stream}->is_open : !!1;
}

sub last_event_id { return $_[0]{last_event_id} }

sub on_close {
    my ($self, $callback) = @_;
    croak 'Plack::App::EventSource::Connection: on_close takes a code reference' if ref $callback ne 'CODE';
    my $stream = $self->{stream} or croak 'Plack::App::EventSource::Connection: on_close needs a stream';
    my %same   = (%$self, is_handle => 1);
    delete $same{stream};    # the stream holds the callback, the callback must not hold the stream
    my $class = ref $self;
    $stream->on_close(sub { $callback->((bless {%same, stream => $_[0]}, $class), $_[1]) });
    return $self;
}

sub push {
    my $self = shift;
    return $self->{push_cb}->(@_) if $self->{push_cb};
    my $bytes = EventSource::XS::_push_bytes($self->{characters}, @_);
    return !!1                 if $self->{stream}->write($bytes);
    die EventSource::Gone->new if $self->{unwind} && ${$self->{unwind}} == $$;
    return !!0;
}

sub DESTROY {
    my $self = shift;
    $self->{stream}->drop if $self->{stream} && !$self->{is_handle};
    return;
}

1;
