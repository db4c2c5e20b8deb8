package EventSource::Stream::Relay;
use strict;
use warnings;

# What lets a stream on the server's writer follow a hub: the hub writes to one end of a pair of sockets, as to any client,
# and what comes out of the other end goes to the server's writer.

our $VERSION = '0.100';

use Carp qw(croak);
use EventSource::Stream::Native;
use EventSource::XS ();
use IO::Select;
use Scalar::Util qw(refaddr weaken);
use Socket       qw(AF_UNIX PF_UNSPEC SOCK_STREAM);

# How much is read at once, and for how many seconds a handler that serves waits before it looks whether the client is there.
my $BYTES = 65_536;
my $LOOK  = 1;

# By the address of the stream, until that has ended.
my %RELAYS;

sub CLONE { %RELAYS = (); return }

# Public methods

sub close {
    my $self = shift;
    delete $self->{watch};
    my $ours = delete $self->{ours} or return;
    delete $RELAYS{$self->{address}};
    CORE::close $ours;
    delete $self->{native};
    return;
}

sub native { return $_[0]{native} }

sub native_of {
    my ($class, $stream) = @_;
    my $relay = $RELAYS{refaddr $stream};
    return $relay && $relay->{native};
}

# The relay of a stream, made if need be.
sub of {
    my ($class, $stream) = @_;
    my $address = refaddr $stream;
    return $RELAYS{$address} if $RELAYS{$address};
    socketpair my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC or croak "EventSource::Hub: no socketpair: $!";
    my $number = EventSource::XS::_duplicate(fileno $theirs);
    croak "EventSource::Hub: no descriptor: $!" if !defined $number;
    my $native = EventSource::Stream::Native->open($number, '', %{$stream->settings}, is_loop => 1, opening => '');
    my $self   = bless {address => $address, ours => $ours, native => $native, stream => $stream}, $class;
    $ours->blocking(0);
    $RELAYS{$address} = $self;
    my $known = $self;
    weaken $known;
    $stream->on_close(sub { $known->close if $known });
    $self->_watch if !$stream->is_blocking;
    return $self;
}

# Copies until the client has left or the stream has ended.
sub serve {
    my $self   = shift;
    my $select = IO::Select->new($self->{ours});
    while ($self->{ours} && $self->{stream}->is_open) {
        last if $select->can_read($LOOK) && !$self->_copy;
    }
    $self->{stream}->close;
    $self->close;
    return !!1;
}

# Private methods

# What the hub has written meanwhile. False at its end, or when the client has left.
sub _copy {
    my $self = shift;
    while ($self->{ours}) {
        my $count = sysread $self->{ours}, (my $bytes), $BYTES;
        return $!{EAGAIN} || $!{EINTR} if !defined $count;
        return !!0 if !$count || !$self->{stream}->write($bytes);
    }
    return !!0;
}

sub _watch {
    my $self = shift;
    weaken $self;
    my $look = sub {
        return if !$self || $self->_copy;
        $self->{stream}->close;
        $self->close;
    };
    if    ($INC{'Twiggy/Server.pm'}) { $self->{watch} = AnyEvent->io(fh => $self->{ours}, poll => 'r', cb => $look) }
    elsif ($INC{'Feersum.pm'})       { $self->{watch} = EV::io(fileno $self->{ours}, EV::READ(), $look) }
    else                             { croak 'EventSource::Hub: there is no event loop that could serve this stream' }
    return;
}

1;
__END__
