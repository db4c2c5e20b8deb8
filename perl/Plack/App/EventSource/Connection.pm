package Plack::App::EventSource::Connection;
use strict;
use warnings;

# One client's open response, as the application sees it. It stands on a stream, such as EventSource::Stream::Native, or
# on two callbacks of the application.

our $VERSION = '0.100';

use EventSource::Error;
use EventSource::Gone;
use EventSource::Settings;
use EventSource::XS ();

my $SETTINGS = EventSource::Settings->new(__PACKAGE__);

sub new {
    my ($class, @given) = @_;
    my %attribute = @given % 2 ? $SETTINGS->parse('new takes attributes', @given) : @given;
    _check(%attribute) if !$attribute{stream};
    return bless {%attribute}, $class;
}

sub closed {
    my ($class, $stream, $attributes) = @_;
    return bless {$attributes ? %$attributes : (), stream => $stream, is_handle => 1}, $class;
}

# Public methods

sub buffered {
    my $self = shift;
    return $self->is_native ? $self->{stream}->buffered : 0;
}

sub close {
    my $self = shift;
    return $self->{close_cb}->()                                                           if $self->{close_cb};
    $SETTINGS->refuse(close_cb => 'there is no close_cb: give it to new, next to push_cb') if !$self->{stream};
    $self->{stream}->close;
    return;
}

sub is_native {
    my $self = shift;
    return !!($self->{stream} && $self->{stream}->is_native);
}

sub is_open {
    my $self = shift;
    return $self->{stream} ? $self->{stream}->is_open : !!1;
}

sub last_event_id { return $_[0]{last_event_id} }

sub on_close {
    my ($self, $callback) = @_;
    $SETTINGS->refuse(callback => 'on_close takes a code reference') if ref $callback ne 'CODE';
    my $stream = $self->{stream}
        or EventSource::Error->throw(code => 'state', message => __PACKAGE__ . ': on_close needs a stream');

    # The stream holds the callback, and neither may hold the connection: releasing the connection may end the stream.
    my %attributes = map { $_ => $self->{$_} } grep { $_ ne 'stream' && $_ ne 'unwind' } keys %$self;
    $stream->on_close($callback, $self, %attributes ? \%attributes : ());
    return $self;
}

# push itself is in src/xs. It handles native streams and calls _push_otherwise for all other connections.
*push = \&_push_otherwise if !__PACKAGE__->can('push');

sub stream { return $_[0]{stream} }

# Private methods and functions

# Checks the attributes of a connection on callbacks.
sub _check {
    my %given   = @_;
    my @unknown = grep { !/\A(?:characters|close_cb|last_event_id|push_cb)\z/ } keys %given;
    $SETTINGS->warn_unknown('unknown attribute', \@unknown, ['close_cb', 'push_cb']) if @unknown;
    $SETTINGS->refuse(push_cb => 'new takes push_cb and close_cb, code references')  if !$given{push_cb};
    $SETTINGS->code($_ => $given{$_}) for qw(close_cb push_cb);
    return;
}

# The result of a push to a client that has disconnected: false, or an exception that ends the handler, if the application
# wants that.
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
           $stream->can('is_subscribed')
        && $stream->is_subscribed
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
            $conn->on_close(sub { my ($conn, $reason) = @_; print "ended by the $reason\n" });
            my $number = $conn->last_event_id || 0;
            while ($number < 3) {
                $conn->push({id => ++$number, data => "event $number"}) or last;
            }
            $conn->close;
        },
    )->to_app;

=head1 DESCRIPTION

The callback L<Plack::App::EventSource/handler_cb> receives an object of this class: the response to one client, open
for events.

=head1 METHODS

=head2 new

    my $conn = Plack::App::EventSource::Connection->new(push_cb => sub { my @messages = @_; ... }, close_cb => sub { ... });

Create a connection on two callbacks, for a test of a handler. L</push> and L</close> call them with their own arguments
and return their results. Such a connection is always open, has no last event ID, and its L</on_close> throws an
exception. The connections of real streams are created by L<Plack::App::EventSource>. Warns of an unknown attribute, once
for each line of the application. Throws C<invalid> if C<push_cb> is missing, or if one of both is no code; L</close> does
if C<close_cb> is missing.

=head2 buffered

    my $bytes = $conn->buffered;

Return the number of bytes that are buffered for the client of a native stream, including the head, comments and
framing. Returns 0 for any other stream: a server does not say what it buffers.

=head2 close

    $conn->close;

End the stream when all pushed events have been sent.

=head2 closed

    my $conn = Plack::App::EventSource::Connection->closed($stream, \%attributes);

Create a connection for a callback of L</on_close>, where the application has released the original one.

=head2 is_native

    my $bool = $conn->is_native;

Return true if the stream was taken over from the server (L<Plack::App::EventSource/native>).

=head2 is_open

    my $bool = $conn->is_open;

Return false once the stream was closed or its client is seen to have disconnected. If a client vanishes without closing
its connection (its cable is pulled, for example), the stream stays open until L<Plack::App::EventSource/timeout>.

=head2 last_event_id

    my $id = $conn->last_event_id;

Return the C<Last-Event-ID> that the client sent, as characters: after a reconnect, the id of the last event that it
received (WHATWG HTML, section 9.2.4). Polyfills send it as a parameter of the query instead: C<last_event_id>,
C<lastEventId> or C<evs_last_event_id>. C<undef> if it sent none. The client may send any string, of which at most 1,025
bytes are returned (L<EventSource::LastEventID>).

=head2 on_close

    $conn->on_close(sub { my ($conn, $reason) = @_; ... });

Call a callback once when the stream has ended, with the connection, to which nothing can be pushed any more, and the
reason:

=over

=item C<client>

The client disconnected.

=item C<slow>

More was buffered for the client than L<Plack::App::EventSource/max_buffered>.

=item C<timeout>

The client neither read nor acknowledged anything for L<Plack::App::EventSource/timeout>.

=item C<error>

The handler or a push died, or the system refused the stream.

=item C<server>

The process ends.

=item C<application>

The application closed the stream or released the connection.

=back

Callbacks run when the handler has returned, at the beginning of the next request, from the event loop where one runs,
or by L<EventSource::XS/dispatch>; never inside C<push>. If a worker blocks and no request comes, that may be late.

The callback receives the connection on which L</on_close> was called, if the application still holds it, so
C<delete $readers{$conn}> finds it. Otherwise it receives one like it. Use that argument: a callback that closes over
another reference to the connection keeps the stream open, as any reference does, until its client disconnects or the
stream is closed.

Returns the connection. Throws an L<EventSource::Error> with the code C<invalid> if the argument is not a code
reference, and C<state> if the connection has no stream.

=head2 push

    my $is_open = $conn->push('text');
    my $is_open = $conn->push('three', 'lines', 'of one event');
    my $is_open = $conn->push({event => $name, id => $id, data => $data, retry => $milliseconds});
    my $is_open = $conn->push({json => $structure, comment => $note});
    my $is_open = $conn->push({data => $utf8, bytes => 1});

Send all messages of one call as one event (WHATWG HTML, section 9.2.5). A string is data, and so is each element of a
referenced array. A reference to a hash has fields, which are sent in the order C<comment>, C<event>, C<id>, C<data>,
C<retry>; those that are undefined are left out. C<data> is a string, or a reference to an array of strings; C<json>
takes its place, and C<bytes> holds for the strings of its hash, as in L<EventSource::XS/format_event>. A message that is
undefined is empty data, a hash without any field a blank line. Each line of data becomes a C<data:> line; lines end in
CRLF. For characters and bytes see L<Plack::App::EventSource/characters>.

An unknown field is ignored, with a warning that names the nearest known one, once for each line of the application. So is
a push warned of that looks like names and values without a hash: C<< push(data => $text) >> sends two lines of data.

Returns true if the stream accepted the event, and false if its client has disconnected. With
L<Plack::App::EventSource/on_gone> it throws an L<EventSource::Gone> instead. On servers that block it waits for a slow
client (L<Plack::App::EventSource/on_full>). A signal may interrupt that: if the application's C<$SIG{ALRM}> dies, the
push rethrows that exception, and the stream ends, because part of the event may have been sent.

If it throws an L<EventSource::Error>, nothing was sent. It throws C<invalid> if C<event>, C<id> or C<retry> has a line
break or NUL, if a value is a reference other than an object with overloading (or, for data, an array), if C<json> is
given beside C<data> or C<bytes>, or cannot be encoded, and if C<bytes> is true and a string is not UTF-8. On a stream
that is subscribed to channels of an L<EventSource::Hub>, it also throws C<invalid> if C<id> is one that the hub would
refuse: if it is empty, has more than 1,024 bytes in UTF-8, a control character other than TAB, or a space or TAB at its
beginning or end (L<EventSource::Hub/Order, resume, gaps>). For the hub, an id that is pushed is unknown: a client that
reconnects with it receives a C<gap> event.

=head2 stream

    my $stream = $conn->stream;

Return the stream (L<EventSource::Stream>), or C<undef> for a connection on two callbacks. For the modules of this
distribution.

=head1 SEE ALSO

L<Plack::App::EventSource>, L<EventSource::Gone>, L<EventSource::Hub/subscribe>

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
