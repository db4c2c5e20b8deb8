package EventSource::Stream::Takeover;
use strict;
use warnings;

# Takes a response over from a PSGI server that writes to its socket itself. The server writes the head into a
# socketpair and is left with /dev/null. In any doubt the server gets its socket back.

our $VERSION = '0.100';

use EventSource::Adapter;
use EventSource::Stream::Native;
use EventSource::Stream::Obstacle;
use EventSource::XS ();
use IO::Select;
use POSIX  ();
use Socket qw(AF_UNIX MSG_DONTWAIT MSG_NOSIGNAL PF_UNSPEC SOCK_STREAM);

my $OBSTACLE    = 'EventSource::Stream::Obstacle';
my $HEAD_REMEDY = 'let middleware leave the head alone, and a proxy terminate TLS';

# The most bytes of headers that a response may have. The socketpair holds several times as many.
my $MAX_HEAD = 32_768;

# Seconds to send the captured bytes to the client: a few hundred bytes into an empty socket.
my $SEND_TIMEOUT = 5;

# A comment that shows what the server does to the body. It has letters of both cases, because a filter may change one.
my $PROBE = ": Probe\n\n";

# Public methods

sub begin {
    my ($class, $adapter, $env, $respond, $response, $setting) = @_;
    my ($self, $obstacle) = $class->_capture($adapter->descriptor($env), $response);
    return (undef, $obstacle) if !$self;
    my $writer = $self->{writer} = $respond->($response);
    _send_head($env, $writer) if $writer;
    my $stream;
    $obstacle = $self->_check_response;
    $obstacle = $self->_probe_framing if !defined $obstacle;
    ($stream, $obstacle) = $self->_open_native($env, $setting) if !defined $obstacle;
    return $stream if $stream;
    $self->_restore_server;
    return (undef, $obstacle, $writer);
}

# Private methods and functions

# Puts one end of a socketpair where the server has the client's socket. Returns the takeover; or undef and the obstacle.
sub _capture {
    my ($class, $number, $response) = @_;
    my $length = 0;
    $length += 4 + length for grep { defined } @{$response->[1]};
    return (undef, $OBSTACLE->new(size => "the response's head is too large", 'set fewer headers'))
        if $length > $MAX_HEAD;
    socketpair my $theirs, my $ours, AF_UNIX, SOCK_STREAM, PF_UNSPEC or return (undef, "there is no socketpair: $!");
    my $socket = EventSource::XS::_duplicate($number);
    return (undef, "the server's socket cannot be duplicated: $!") if !defined $socket;
    if (!defined EventSource::XS::_replace($number, fileno $theirs)) {
        my $obstacle = "the server's socket cannot be replaced: $!";
        POSIX::close($socket);
        return (undef, $obstacle);
    }
    return bless {captured => '', number => $number, ours => $ours, socket => $socket}, $class;
}

# Returns why the response cannot be taken over, or undef. The head and the writer decide. The status line may begin with
# any version: some servers repeat what the client wrote, spaces included.
sub _check_response {
    my $self = shift;
    my $head = $self->_read;
    return $OBSTACLE->new(head => "the response's head is not understood", $HEAD_REMEDY)
        if $head !~ m{\A[^\r]* 200 OK\r\n(?:[^\r\n]+\r\n)*\r\n\z};
    return $OBSTACLE->new(filter => "the response's writer is not known")
        if !EventSource::Adapter->of_writer($self->{writer});
    return undef;
}

# The head for the client. Only HTTP/1.1 has chunks; otherwise a version that is not known becomes HTTP/1.0.
sub _head {
    my $self = shift;
    my ($version, $fields) = $self->{captured} =~ m{\A([^\r]*) 200 OK\r\n((?:[^\r\n]+\r\n)*)\r\n};
    $version = 'HTTP/1.0' if $version ne 'HTTP/1.1';
    $version = 'HTTP/1.1' if $self->{is_chunked};
    $fields =~ s/^(?:Connection|Transfer-Encoding):[^\r\n]*\r\n//gmi;
    return "$version 200 OK\r\n${fields}Connection: close\r\n\r\n";
}

# Opens the native stream, which begins with the captured head, without framing and keep-alive. The server ends its
# response to /dev/null. Returns the stream; or undef and the obstacle.
sub _open_native {
    my ($self, $env, $setting) = @_;
    defined EventSource::XS::_silence($self->{number}) or return (undef, "the server cannot be silenced: $!");
    my ($stream, $obstacle) = EventSource::Stream::Native->try_open($self->{socket}, $self->_head,
        %$setting, is_loop => $env->{'psgi.nonblocking'});
    return (undef, $obstacle) if !$stream;
    delete @$self{qw(socket ours)};    # they belong to the stream now
    local $@;
    eval { $self->{writer}->close };
    return $stream;
}

# Writes a comment through the server's writer and reads it back, to find out how the body is framed. Returns why the
# response cannot be taken over, or undef.
sub _probe_framing {
    my $self = shift;
    local $| = 1;    ## no critic (RequireLocalizedPunctuationVars) some writers buffer otherwise
    $self->{writer}->write($PROBE);
    my $probe = $self->_read;
    $self->{is_chunked} = $probe eq sprintf "%x\r\n%s\r\n", length $PROBE, $PROBE;
    return $OBSTACLE->new(filter => "the response's body is filtered") if !$self->{is_chunked} && $probe ne $PROBE;
    return undef;
}

# Reads what the server has written since the last call.
sub _read {
    my $self = shift;
    my $all  = '';
    while (defined(CORE::recv $self->{ours}, my $bytes, 65_536, MSG_DONTWAIT)) {
        last if !length $bytes;
        $all .= $bytes;
    }
    $self->{captured} .= $all;
    return $all;
}

# Puts the socket back where the server has it, and sends the client what was captured. Whatever happens, the server
# has its socket again. A flag avoids SIGPIPE: a local $SIG{PIPE} would not restore a handler that was set in C, such
# as that of a server with perl embedded, and the next broken connection would kill the worker.
sub _restore_server {
    my $self   = shift;
    my $socket = delete $self->{socket};
    return if !defined $socket;
    $self->_read;
    EventSource::XS::_replace($self->{number}, $socket);
    if (CORE::open my $client, '+<&=', $socket) {
        my $select = IO::Select->new($client);
        while (length $self->{captured}) {
            my $sent = CORE::send $client, $self->{captured}, MSG_DONTWAIT | MSG_NOSIGNAL;
            if    (defined $sent) { substr $self->{captured}, 0, $sent, '' }
            elsif (!($!{EAGAIN} || $!{EINTR}) || !$select->can_write($SEND_TIMEOUT)) { last }
        }
    }
    delete $self->{ours};
    return;
}

# Some servers send the head with the first write. An empty write makes them send it now.
sub _send_head {
    my ($env, $writer) = @_;
    return if !EventSource::Adapter->of($env, $writer)->sends_head_late;
    local $| = 1;    ## no critic (RequireLocalizedPunctuationVars) some writers buffer otherwise
    $writer->write('');
    return;
}

# The object still has a socket only if something has died on the way.
sub DESTROY {
    my $self = shift;
    local ($@, $!, $?);
    $self->_restore_server if $self->{ours};
    return;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Stream::Takeover - Takes a response over from the PSGI server

=head1 SYNOPSIS

    use EventSource::Stream;

    my $app = sub {
        my $env = shift;
        return sub {
            my $respond = shift;
            my $head    = [200, ['Content-Type' => 'text/event-stream']];
            my ($stream, $obstacle) = EventSource::Stream->open($env, $respond, $head, '');    # by take_over
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

Otherwise the native stream begins with the captured head, without C<Transfer-Encoding> and with C<Connection: close>.
Its version is HTTP/1.0 or HTTP/1.1, whatever the client wrote; some servers repeat that. The server is left with
F</dev/null>, where it ends its response.

=back

The server's adapter (L<EventSource::Adapter>) says where the socket is and whether the writer is known. A server that
queues its head, such as Feersum, has a takeover of its own in its adapter.

These responses are not taken over: to HEAD; without C<psgix.io>, or where that is not a connection
(CGI, FastCGI, tests in process); over TLS; on uWSGI with threads or TLS; with a filtered body (Deflater,
SimpleContentFilter, AccessLog::Timed); and those with the writer of an unknown server.

=head1 METHODS

=head2 begin

    my ($stream, $obstacle, @writer) = EventSource::Stream::Takeover->begin($adapter, $env, $respond, $response, \%settings);

Respond and take the response over. Returns the native stream; or C<undef> and the obstacle. If there has been a
response, a third value follows: the server's writer, or C<undef> if a middleware has replaced the body. Rethrows an
exception of the responder; then the server has its socket again. L<EventSource::Adapter/obstacle> must have returned
C<undef>. Needs Linux.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
