package EventSource::XS::Stream::Takeover;
use strict;
use warnings;

# Takes a response over from a PSGI server that writes to its socket itself. The server writes the head into a
# socketpair and is left with /dev/null. In any doubt the server gets its socket back.

our $VERSION = '0.100';

use EventSource::XS ();
use EventSource::XS::Adapter;
use EventSource::XS::Stream::Native;
use EventSource::XS::Stream::Obstacle;

my $OBSTACLE    = 'EventSource::XS::Stream::Obstacle';
my $HEAD_REMEDY = 'let middleware leave the head alone, and a proxy terminate TLS';

# The class of the objects that Plack::Util::inline_object makes. Calling its code is quicker than its methods.
my $INLINE_OBJECT = 'Plack::Util::Prototype';

# What the library says if the probe has come back changed.
my $IS_FILTERED = "the response's body is filtered";

my $INTERPRETER = EventSource::XS::Stream::Native->interpreter;

# What EventSource::XS::Adapter->plain returns: always the same hash.
my $plain;

# What the library says of a descriptor that descriptor_obstacle of the adapter has more to say about.
my $NO_CONNECTION = "the server's socket is not a connection";

# The most bytes of headers that a response may have. The socketpair holds several times as many.
my $MAX_HEAD = 32_768;

# A comment that shows what the server does to the body. It has letters of both cases, because a filter may change one.
my %PROBE = (crlf => ": Probe\r\n", lf => ": Probe\n");

# Public methods

# The object, which _capture makes, is in src/runtime/capture.rs. If something dies on the way, it gives the server its
# socket back when it is freed.
sub begin {
    my ($class, $adapter, $env, $respond, $response, $setting, $opening) = @_;
    return (undef, $OBSTACLE->new(size => "the response's head is too large", 'set fewer headers'))
        if _is_large($response->[1]);
    my ($self, $obstacle) = $class->_capture($adapter->descriptor($env));
    return (undef, $obstacle) if !$self;
    return $self->_go_on($respond->($response), $adapter, $env, $setting, $opening);
}

# Most responses have nothing special about them. _begin_plainly of EventSource::XS::Stream::Native, in src/xs, takes them over
# in one step, and leaves all others to begin or to _go_on.
sub begin_plainly {
    my ($class, $env, $respond, $response, $setting, $opening) = @_;
    my $native = $setting->{native_settings} || EventSource::XS::Stream::Native->shared_settings($setting);
    $plain ||= EventSource::XS::Adapter->plain;
    my $probe = $PROBE{$setting->{line_end} || 'crlf'};
    my ($stream, $self, $writer, $why) =
        EventSource::XS::Stream::Native::_begin_plainly($env, $respond, $response, $native, $opening, $probe,
        $$INTERPRETER, $plain);
    return $stream                                                                      if $stream;
    return $self->_go_on($writer, 'EventSource::XS::Adapter', $env, $setting, $opening) if $self && !defined $why;
    return                                                                              if !defined $why;
    return $why eq $NO_CONNECTION ? () : (undef, $why)                                  if !$self;
    $self->_restore;
    return (undef, _obstacle_to_open($why), $writer);
}

# Private functions

# The server has responded into the socketpair.
sub _go_on {
    my ($self, $writer, $adapter, $env, $setting, $opening) = @_;
    my $known = $writer && EventSource::XS::Adapter->of_writer($writer);
    _write($writer, '') if $writer && ($known || $adapter)->sends_head_late;
    my ($stream, $obstacle);

    if (!$self->_has_head) {
        $obstacle = $OBSTACLE->new(head => "the response's head is not understood", $HEAD_REMEDY);
    }
    elsif (!$known) { $obstacle = $OBSTACLE->new(filter => "the response's writer is not known") }
    else {
        my $probe = $PROBE{$setting->{line_end} || 'crlf'};
        _write($writer, $probe);
        my @client = ($env->{'psgi.nonblocking'}, $known->takes_chunks($env));
        ($stream, $obstacle) =
            EventSource::XS::Stream::Native->open_captured($self, $probe, $setting, $opening, @client);
        $obstacle = _obstacle_to_open($obstacle) if !$stream;
    }
    if ($stream) {
        my $close = ref $writer eq $INLINE_OBJECT && $writer->{close};
        local $@;
        eval { $close ? $close->() : $writer->close };
        return $stream;
    }
    $self->_restore;
    return (undef, $obstacle, $writer);
}

sub _is_large {
    my $headers = shift;
    no warnings 'uninitialized';
    return 4 * @$headers + length(join '', @$headers) > $MAX_HEAD;
}

sub _obstacle_to_open {
    my $why = shift;
    return $why eq $IS_FILTERED ? $OBSTACLE->new(filter => $why) : $why;
}

sub _write {
    my ($writer, $bytes) = @_;
    my $write = ref $writer eq $INLINE_OBJECT && $writer->{write};
    local $| = 1;    ## no critic (RequireLocalizedPunctuationVars) some writers buffer otherwise
    $write ? $write->($bytes) : $writer->write($bytes);
    return;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::XS::Stream::Takeover - Takes a response over from the PSGI server

=head1 SYNOPSIS

    use EventSource::XS::Stream;

    my $app = sub {
        my $env = shift;
        return sub {
            my $respond = shift;
            my $head    = [200, ['Content-Type' => 'text/event-stream']];
            my ($stream, $obstacle) = EventSource::XS::Stream->open($env, $respond, $head, '');    # by take_over
            $stream->write('data: ' . (defined $obstacle ? "not taken over: $obstacle" : 'taken over') . "\n\n");
            $stream->close;
        };
    };

=head1 DESCRIPTION

A response leaves its server in these steps:

=over

=item 1

The client's socket is duplicated, and one end of a socketpair is put in its place.

=item 2

The server responds. It writes the head, which is read from the other end.

=item 3

A comment is written through the server's writer and read back. It comes back unchanged or as one chunk; if it comes
back as anything else, something filters the body.

=item 4

In any doubt the socket is put back where it was, the captured bytes are sent to the client, and the server's writer is
used. Nothing is lost.

=item 5

Otherwise the native stream begins with the captured head, with C<Connection: close>. To a client whose request says
HTTP/1.1 (L<EventSource::XS::Adapter/takes_chunks>) the head says HTTP/1.1 and C<Transfer-Encoding: chunked>, whatever the
server says, so that the client can tell an end from a cut; unless the application has set C<Content-Length>. To other
clients it has no C<Transfer-Encoding>. The server is left with F</dev/null>, where it ends its response.

=back

The server's adapter (L<EventSource::XS::Adapter>) says where the socket is and whether the writer is known. A server that
queues its head, such as Feersum, has a takeover of its own in its adapter.

These responses are not taken over: to HEAD; without C<psgix.io>, or where that is not a connection
(CGI, FastCGI, tests in process); over TLS; on uWSGI with threads or TLS; with a filtered body (Deflater,
SimpleContentFilter, AccessLog::Timed); and those with the writer of an unknown server.

=head1 METHODS

=head2 begin

    my ($stream, $obstacle, @writer) =
        EventSource::XS::Stream::Takeover->begin($adapter, $env, $respond, $response, \%settings, $opening);

Respond and take the response over. Returns the native stream; or C<undef> and the obstacle. If there has been a
response, a third value follows: the server's writer, or C<undef> if a middleware has replaced the body. Rethrows an
exception of the responder; then the server has its socket again. L<EventSource::XS::Adapter/obstacle> must have returned
C<undef>. Needs Linux.

=head2 begin_plainly

    my ($stream, $obstacle, @writer) =
        EventSource::XS::Stream::Takeover->begin_plainly($env, $respond, $response, \%settings, $opening);

Do what L</begin> does, in native code, if nothing about the request or the server is special
(L<EventSource::XS::Adapter/plain>). Returns nothing if it is; then nothing has happened. Only if
L<EventSource::XS::Adapter/of_env> returns C<EventSource::XS::Adapter>. It does not need to be asked for an obstacle before.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
