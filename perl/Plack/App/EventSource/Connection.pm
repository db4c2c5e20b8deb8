package Plack::App::EventSource::Connection;
use strict;
use warnings;

# One client's open response, as the application sees it. It stands on a stream, such as EventSource::Stream::Writer, or
# on two callbacks of the application's.

our $VERSION = '0.100';

use Carp qw(croak);
use EventSource::Gone;
use EventSource::XS ();

sub new {
    my ($class, %param) = @_;
    return bless {%param}, $class;
}

# What a callback of on_close is given: this connection itself if the application holds it still, one like it otherwise.
sub closed {
    my ($class, $stream, $same) = @_;
    return bless {$same ? %$same : (), stream => $stream, is_handle => 1}, $class;
}

# Public methods

sub buffered {
    my $self = shift;
    return $self->is_native ? $self->{stream}->buffered : 0;
}

sub close {
    my $self = shift;
    return $self->{close_cb}->() if $self->{close_cb};
    $self->{stream}->close;
    return;
}

sub is_native {
    my $self = shift;
    return !!($self->{stream} && $self->{stream}->can('is_native'));
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

    # The stream holds the callback; neither is to hold the connection, whose letting go may end the stream.
    my %same = map { $_ => $self->{$_} } grep { $_ ne 'stream' && $_ ne 'unwind' } keys %$self;
    $stream->on_close($callback, $self, %same ? \%same : ());
    return $self;
}

# push itself is in src/xs, for native streams; what has none comes here.
*push = \&_push_otherwise if !__PACKAGE__->can('push');

# Private methods

# The client has left: false, or the end of the handler, if that was asked for.
sub _not_taken {
    my $self = shift;
    die EventSource::Gone->new if $self->{unwind} && ${$self->{unwind}} == $$;
    return !!0;
}

sub _push_otherwise {
    my $self = shift;
    return $self->{push_cb}->(@_) if $self->{push_cb};
    my $stream = $self->{stream};
    my $bytes =
           $stream->can('follows_hub')
        && $stream->follows_hub
        ? EventSource::XS::_push_bytes_in_hub($self->{characters}, @_)
        : EventSource::XS::_push_bytes($self->{characters}, @_);
    return $stream->write($bytes) ? !!1 : $self->_not_taken;
}

sub DESTROY {
    my $self = shift;
    local ($@, $!, $?);
    $self->{stream}->drop if $self->{stream} && !$self->{is_handle};
    return;
}

1;
__END__

=encoding utf8

=head1 NAME

Plack::App::EventSource::Connection - One client's open stream

=head1 SYNOPSIS

    use Plack::App::EventSource;

    my $app = Plack::App::EventSource->new(
        handler_cb => sub {
            my ($conn, $env) = @_;
            $conn->on_close(sub { my ($conn, $why) = @_; print "ended by the $why\n" });
            my $number = $conn->last_event_id || 0;
            while ($number < 3) {
                $conn->push({id => ++$number, data => "event $number"}) or last;
            }
            $conn->close;
        },
    )->to_app;

=head1 DESCRIPTION

What a C<handler_cb> gets: the response to one client, open for events.

=head1 METHODS

=head2 new

    my $conn = Plack::App::EventSource::Connection->new(push_cb => sub { my @messages = @_; ... }, close_cb => sub { ... });

Applications are given connections; a test of theirs may make one of two callbacks, which get what L</push> and
L</close> are called with, unchanged, and whose results these return. Such a connection is always open, has no last
event ID, and L</on_close> croaks.

=head2 buffered

    my $bytes = $conn->buffered;

How many bytes wait to be sent on a native stream, its head, comments and framing included. 0 for any other: what the
server holds it does not say.

=head2 close

    $conn->close;

Ends the response when what was pushed has been sent.

=head2 closed

What L</on_close> makes of a connection that the application does not hold any more.

=head2 is_native

    my $native = $conn->is_native;

Whether the stream was taken over from the server (L<Plack::App::EventSource/native>).

=head2 is_open

    my $open = $conn->is_open;

False once the stream was closed or its client is seen to have left. A client that is gone without a word, its cable
pulled, is not seen at once.

=head2 last_event_id

    my $id = $conn->last_event_id;

What the client has sent as C<Last-Event-ID>, as characters, or C<undef> if it has sent none: after a reconnect the id
of the last event that it received (WHATWG HTML, section 9.2.4). It is the client's word: any string.

=head2 on_close

    $conn->on_close(sub { my ($conn, $why) = @_; ... });

Has a callback called once when the stream has ended, with the connection, to which nothing can be pushed any more, and
the reason:

=over

=item C<client>

The client has left.

=item C<slow>

More waited for the client than L<Plack::App::EventSource/max_buffered>.

=item C<timeout>

The client took or acknowledged nothing for L<Plack::App::EventSource/timeout>.

=item C<error>

The handler or a push died, or the system refused.

=item C<server>

The process ends.

=item C<application>

It was closed here, or let go of.

=back

Callbacks run when the handler has returned, at the entry of the next request, from the event loop where one runs, or by
L<EventSource::XS/dispatch>; never inside C<push>. Where a worker blocks and no request comes, that may be late. Returns
the connection. Croaks if given anything but a code reference, or on a connection of two callbacks.

The connection that the callback is given is the one that L</on_close> was called with, if the application holds it
still, so C<delete $readers{$conn}> finds it; otherwise it is one like it. Use that: a callback that closes over another
reference to it keeps the stream open, as any reference does, until its client leaves or it is closed.

=head2 push

    my $taken = $conn->push('text');
    my $taken = $conn->push('three', 'lines', 'of one event');
    my $taken = $conn->push({event => $name, id => $id, data => $data, retry => $milliseconds});

Sends all messages of one call as one event. A string is data, and so is each element of an array; a hash gives fields,
in the order C<event>, C<id>, C<data>, C<retry>, those that are undefined left out and unknown ones ignored. A message
that is undefined is empty data, a hash without any field a blank line. Each line of data gets a C<data:> line; lines
end in CRLF. For characters and bytes see L<Plack::App::EventSource/characters>.

True if the stream has taken the event, false if its client has left: it does not die for that (but see
L<Plack::App::EventSource/on_gone>). Where the server blocks it waits for a slow client. A signal may end that: if the
application's C<$SIG{ALRM}> dies, the push dies of it, and the stream ends, for part of the event may have been sent.

Croaks, at the caller's line, if C<event>, C<id> or C<retry> holds a line break or NUL; then nothing is sent. So it does on a
stream that follows an L<EventSource::Hub> if an C<id> is none that the hub would publish: if it is empty, has more than
1,024 bytes in UTF-8, a control character other than TAB, or a space or TAB at its beginning or end
(L<EventSource::Hub/Order, resume, gaps>). To the hub an id that is pushed is an unknown one: a client that comes back with
it is told of a gap.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
