package EventSource::Stream::Relay;
use strict;
use warnings;

# What lets a stream on the server's writer follow a hub: the hub writes to one end of a pair of sockets, as to any client,
# and what comes out of the other end goes to the server's writer.

our $VERSION = '0.100';

use Carp qw(croak);
use EventSource::Loop;
use EventSource::Stream::Native;
use EventSource::XS ();
use IO::Select;
use Scalar::Util qw(refaddr weaken);
use Socket       qw(AF_UNIX PF_UNSPEC SOCK_STREAM);

our @CARP_NOT = qw(EventSource::Hub EventSource::Hub::App);

# How much is read at once, and for how many seconds a handler that serves waits before it looks whether the client is there.
my $BYTES = 65_536;
my $LOOK  = 1;

# Milliseconds for the reactor to say why a stream has ended whose end is here.
my $SETTLE = 1_000;

# What a stream is like of which nothing was said; Plack::App::EventSource says it of its own.
my %DEFAULT = (keepalive => 0, linger => 2, max_buffered => 4_194_304, on_full => 'disconnect', timeout => 60);

# The ends of a client that takes nothing.
my %GIVEN_UP = map { ($_ => 1) } qw(slow timeout error);

# By the address of the stream, until that has ended.
my %RELAYS;

sub CLONE { %RELAYS = (); return }

# Public methods

sub close {
    my $self = shift;
    delete @$self{qw(look watch)};
    my $ours = delete $self->{ours} or return;
    delete $RELAYS{$self->{address}};
    CORE::close $ours;
    delete $self->{native};
    return;
}

# Where no event loop is known, what the hubs have written is copied by dispatch.
sub collect {
    $_->() for grep { defined } map { $_->{look} } values %RELAYS;
    return;
}

# The process ends, and the reactor has written all: what their clients take of it at once is copied. The writer of a
# server that blocks might wait for its client.
sub finish {
    for my $relay (grep { $_->{owner} == $$ && !$_->{stream}->is_blocking } values %RELAYS) {
        local ($@, $SIG{__DIE__});
        eval { $relay->_copy_at_once; 1 } or warn $@;
    }
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
    my %setting = (%DEFAULT, %{$stream->settings}, is_loop => 1, opening => '');
    my $native  = EventSource::Stream::Native->open($number, '', %setting);
    my $self    = bless {address => $address, owner => $$, ours => $ours, native => $native, stream => $stream}, $class;
    $ours->blocking(0);
    $RELAYS{$address} = $self;
    $stream->go_through($native);
    my $known = $self;
    weaken $known;
    $stream->on_close(sub { $known->close if $known });

    if (!$stream->is_blocking) {
        $native->on_close(sub { $known->_give_up($_[1]) if $known });
        $self->_await_hub;
    }
    return $self;
}

# Copies until the client has left or the stream has ended.
sub serve {
    my $self   = shift;
    my $select = IO::Select->new($self->{ours});
    while ($self->{ours} && $self->{stream}->is_there) {
        last if $select->can_read($LOOK) && !$self->_copy;
    }
    $self->_end;
    return !!1;
}

# The same of a stream, if it has a relay. One that was refused has a last word to copy.
sub serve_stream {
    my ($class, $stream) = @_;
    my $relay = $RELAYS{refaddr $stream} or return !!0;
    $relay->{native}->leave_handler if $relay->{native};    # what it has subscribed to begins now
    return $relay->serve;
}

# Private functions and methods

# Under an event loop, waits until the client takes something again.
sub _await_client {
    my $self = shift;
    weaken $self;
    my $loop = EventSource::Loop->at_hand or return;
    $self->{watch} = $loop->writable($self->{stream}->socket, sub { $self->_await_hub if $self });
    return;
}

# Under an event loop, waits for what the hub writes. While the client takes nothing, nothing is read: the server would keep
# it, all of it, and the hub would not see that the client is slow.
sub _await_hub {
    my $self = shift;
    weaken $self;
    my $copy = sub {
        return if !$self || $self->{owner} != $$;    # what a child reads its parent has not got
        local $@;
        my $goes_on = eval { $self->_copy };
        if    (!$goes_on)                { warn $@ if $@; $self->_end }
        elsif ($self->{stream}->is_full) { $self->_await_client }
    };
    my $loop = EventSource::Loop->at_hand;
    if ($loop) { $self->{watch} = $loop->readable($self->{ours}, $copy) }
    else       { $self->{look} = $copy }
    return;
}

# What the hub has written meanwhile, some of it: between two pieces the server may write. False at its end, or when the
# client has left.
sub _copy {
    my $self = shift;
    return !!0 if !$self->{ours};
    my $count = sysread $self->{ours}, (my $bytes), $BYTES;
    return $!{EAGAIN} || $!{EINTR} if !defined $count;
    return $count && $self->{stream}->hand_on($bytes);
}

sub _copy_at_once {
    my $self   = shift;
    my $select = IO::Select->new($self->{ours});
    while ($self->{ours} && !$self->{stream}->is_full && $select->can_read(0)) { $self->_copy or last }
    return;
}

# The hub has given the client up, for it takes nothing. Whoever waits until it takes what is left waits for ever, and so
# does the server.
sub _give_up {
    my ($self, $why) = @_;
    return if !$GIVEN_UP{$why} || !$self->{ours} || $self->{owner} != $$;
    my $socket = $self->{stream}->socket;
    $self->_end;
    shutdown $socket, 2 if $socket && defined fileno $socket;
    return;
}

# The stream ends as the one that the hub has written to.
sub _end {
    my $self   = shift;
    my $native = $self->{native};
    if ($native && $self->{stream}->is_there) {
        $native->close;    # if it has ended, its own reason stands
        $native->_wait_for_end($SETTLE);
        $self->{stream}->end($native->_want_end || 'application');
    }
    $self->close;
    return;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Stream::Relay - Lets a stream on the server's writer follow a hub

=head1 SYNOPSIS

    use EventSource::Stream;
    use EventSource::Stream::Relay;

    my $app = sub {
        my $env = shift;
        return sub {
            my $respond  = shift;
            my $head     = [200, ['Content-Type' => 'text/event-stream']];
            my ($stream) = EventSource::Stream->open($env, $respond, $head, '', native => 0);
            my $relay    = EventSource::Stream::Relay->of($stream);
            $relay->native->write("data: hello\n\n");
            $relay->native->close;
            $relay->serve;
        };
    };

=head1 DESCRIPTION

A hub writes to native streams (L<EventSource::Stream::Native>). For one that goes through the server's writer
(L<EventSource::Stream::Writer>) there is a pair of sockets: one end is a native stream, and what comes out of the other is
handed to the writer. L<EventSource::Hub> makes it when such a stream is to follow channels.

From then on everything that is written to the stream takes that way, in order, and the native stream's settings count:
keepalive, timeout, what may wait. Both are one stream to L<EventSource::XS/stats>.

Under an event loop (Twiggy, Feersum) watchers copy. While the client takes nothing they read nothing: no more than some
100 KB wait in the server, and then the hub sees that the client is slow. Only behind a filter of the body under Feersum,
which shows no socket there, all goes to the server at once. Elsewhere L</serve> copies.

=head1 METHODS

=head2 of

    my $relay = EventSource::Stream::Relay->of($stream);

The relay of a stream, made at the first call. Croaks if the system has no descriptors for it.

=head2 close

    $relay->close;

Ends the relay; the stream itself is left to who called. It is called when the stream ends.

=head2 collect

    EventSource::Stream::Relay->collect;

Copies for those streams that belong to a server which says C<psgi.nonblocking>, but where no event loop is known: a test's,
in process. L<EventSource::XS/dispatch> calls it.

=head2 finish

    EventSource::Stream::Relay->finish;

Copies what the reactor has written when the process ends, as far as the clients take it at once.

=head2 native

    my $native = $relay->native;

The native stream, on which what follows a hub stands; undef when the relay has ended.

=head2 native_of

    my $native = EventSource::Stream::Relay->native_of($stream);

The same of a stream, if it has a relay.

=head2 serve

    $relay->serve;

Copies until the client has left, which is seen within a second, or the native stream has ended, and then ends the stream,
for the same reason. True. Dies of what a write dies of (L<EventSource::Stream::Writer/write>).

=head2 serve_stream

    EventSource::Stream::Relay->serve_stream($stream);

The same of a stream; false if it has no relay.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
