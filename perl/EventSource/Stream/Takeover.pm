package EventSource::Stream::Takeover;
use strict;
use warnings;

# Takes a response over from the PSGI server: the server writes its head into a socket of ours, and is left with
# /dev/null. What has not been understood to the last byte goes back to the server.

our $VERSION = '0.100';

use B ();
use EventSource::Stream::Native;
use EventSource::Stream::Takeover::Feersum;
use EventSource::XS ();
use IO::Select;
use Scalar::Util qw(blessed);
use Socket       qw(AF_UNIX MSG_DONTWAIT MSG_NOSIGNAL PF_UNSPEC SOCK_STREAM);

# The most that a response may have in headers: what the socketpair holds, many times over.
my $MAX_HEAD = 32_768;

# Seconds for what goes back to the server's client, which are a few hundred bytes into an empty socket.
my $PATIENCE = 5;

# A comment that shows what happens to the body on its way. Letters of both cases, for a filter may change one.
my $PROBE = ": Probe\n\n";

# Whose closures write to the socket itself.
my %WRITES_ITSELF = map { ($_ => 1) } qw(HTTP::Server::PSGI Starman::Server Starlet::Server);

# Public methods

# Responds, and takes over. Returns the stream; or undef and why not, followed by what the responder has returned if there
# has been a response: the server's writer, or undef where a middleware has replaced the body.
sub begin {
    my ($class, $env, $respond, $response, $setting) = @_;
    return EventSource::Stream::Takeover::Feersum->begin($env, $respond, $response, $setting)
        if exists $env->{'psgix.output.guard'};
    my $self = $class->_capture(_number($env), $response);
    return (undef, $self) if !ref $self;
    $self->{writer} = $respond->($response);
    $self->{writer}->write('') if $self->{writer} && _is_uwsgi($env);
    my $doubt = $self->_doubt;
    my ($stream, $trouble) = defined $doubt ? (undef, $doubt) : $self->_open_native($env, $setting);
    return $stream if $stream;
    $self->_give_back;
    return (undef, $trouble, $self->{writer});
}

# Whether the client of this request is known to have left. Some servers read several requests at once, and run those
# behind a stream's when that has been taken over: psgix.io is /dev/null then. Feersum reads one.
sub has_left {
    my ($class, $env) = @_;
    return !!0 if exists $env->{'psgix.output.guard'};
    my $number = eval { _number($env) };
    return defined $number && $number >= 0 && EventSource::XS::_has_left($number);
}

# Why it cannot be, as far as the environment shows; undef if it may. That a client has left is no obstacle.
sub obstacle {
    my ($class, $env) = @_;
    return 'this is no GET'                                       if ($env->{REQUEST_METHOD} || '') ne 'GET';
    return EventSource::Stream::Takeover::Feersum->obstacle($env) if exists $env->{'psgix.output.guard'};
    return _obstacle_uwsgi($env)                                  if _is_uwsgi($env);
    my $io = $env->{'psgix.io'};
    return 'the server does not give its socket' if !defined $io;
    return 'it is encrypted'                     if _is_tls($io);
    my $number = eval { fileno $io };
    return 'psgix.io has no descriptor' if !defined $number || $number < 0;
    return _obstacle_socket($number, 'psgix.io is no connection');
}

# Private methods and functions

# Puts one end of a socketpair where the server has the client's socket.
sub _capture {
    my ($class, $number, $response) = @_;
    my $length = 0;
    $length += 4 + length for grep { defined } @{$response->[1]};
    return 'the head is large' if $length > $MAX_HEAD;
    my $socket = EventSource::XS::_duplicate($number);
    return "the socket cannot be duplicated: $!" if !defined $socket;
    my $self = bless {number => $number, socket => $socket}, $class;
    socketpair my $theirs, my $ours, AF_UNIX, SOCK_STREAM, PF_UNSPEC or return $self->_cannot("no socketpair: $!");
    @$self{qw(captured ours)} = ('', $ours);
    defined EventSource::XS::_replace($number, fileno $theirs) or return $self->_cannot("no exchange: $!");
    return $self;
}

sub _cannot {
    my ($self, $why) = @_;
    _close_number(delete $self->{socket});
    return $why;
}

sub _close_number {
    my $number = shift;
    CORE::open my $handle, '<&=', $number or return;
    return CORE::close $handle;
}

# Why the response may not be taken over, after its head was written; undef if it may. Whether the body is framed is known
# then. The status line may begin with any version: some servers repeat what the client wrote, spaces included.
sub _doubt {
    my $self = shift;
    my $head = $self->_read;
    return 'its head is not understood' if $head !~ m{\A[^\r]* 200 OK\r\n(?:[^\r\n]+\r\n)*\r\n\z};
    return 'its writer is not known'    if !_is_known($self->{writer});
    $self->{writer}->write($PROBE);
    my $probe = $self->_read;
    $self->{is_chunked} = $probe eq sprintf "%x\r\n%s\r\n", length $PROBE, $PROBE;
    return 'its body is filtered' if !$self->{is_chunked} && $probe ne $PROBE;
    return;
}

# What the server has been given to write so far, and the server itself, go back to where they were. Whatever happens,
# the server has its socket again. SIGPIPE is avoided by a flag: a local $SIG{PIPE} would not restore a handler that was set
# in C, such as uWSGI's, and the next broken connection would kill the worker.
sub _give_back {
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
            elsif (!($!{EAGAIN} || $!{EINTR}) || !$select->can_write($PATIENCE)) { last }
        }
    }
    delete $self->{ours};
    return;
}

# The head that the client is sent. Only HTTP/1.1 has chunks; otherwise a version that is not known becomes HTTP/1.0.
sub _head {
    my $self = shift;
    my ($version, $fields) = $self->{captured} =~ m{\A([^\r]*) 200 OK\r\n((?:[^\r\n]+\r\n)*)\r\n};
    $version = 'HTTP/1.0' if $version ne 'HTTP/1.1';
    $version = 'HTTP/1.1' if $self->{is_chunked};
    $fields =~ s/^(?:Connection|Transfer-Encoding):[^\r\n]*\r\n//gmi;
    return "$version 200 OK\r\n${fields}Connection: close\r\n\r\n";
}

sub _is_known {
    my $writer = shift;
    my $class  = blessed $writer or return;
    return 1 if $class eq 'Twiggy::Writer'         || $class eq 'uwsgi::streaming';
    return   if $class ne 'Plack::Util::Prototype' || ref $writer->{write} ne 'CODE';
    return $WRITES_ITSELF{B::svref_2object($writer->{write})->STASH->NAME};
}

sub _is_tls {
    my $io    = shift;
    my $class = blessed $io or return;
    return 1 if $class =~ /SSL/ || $io->isa('IO::Socket::SSL');
    return $io->can('NS_proto') && ($io->NS_proto || '') =~ /SSL/;
}

sub _is_uwsgi { return ref $_[0]{'psgi.errors'} eq 'uwsgi::error' }

sub _number {
    my $env = shift;
    return _is_uwsgi($env) ? uwsgi::connection_fd() : fileno $env->{'psgix.io'};
}

# The scheme is no obstacle, for uWSGI believes X-Forwarded-Proto and X-Forwarded-SSL of any client. If uWSGI really
# encrypts, what is captured is not understood.
sub _obstacle_uwsgi {
    my $env = shift;
    return 'uWSGI has several threads' if $env->{'psgi.multithread'};
    return _obstacle_socket(uwsgi::connection_fd(), 'the socket is no connection');
}

# A client may leave at any moment. So its leaving is looked for after its connection.
sub _obstacle_socket {
    my ($number, $why) = @_;
    return if EventSource::XS::_is_connection($number) || EventSource::XS::_has_left($number);
    return $why;
}

# The stream, which begins with the head as it was captured, but for the version, which may be the client's, and the framing
# and the keeping alive, which it has none of. The server ends its response to /dev/null.
sub _open_native {
    my ($self, $env, $setting) = @_;
    defined EventSource::XS::_silence($self->{number}) or return (undef, "the server cannot be silenced: $!");
    my ($stream, $trouble) = EventSource::Stream::Native->try_open($self->{socket}, $self->_head,
        %$setting, is_loop => $env->{'psgi.nonblocking'});
    return (undef, $trouble) if !$stream;
    delete @$self{qw(socket ours)};    # the stream's from here on
    local $@;
    eval { $self->{writer}->close };
    return $stream;
}

# What the server has written meanwhile.
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

# Reached with a socket only if something has died on the way.
sub DESTROY {
    my $self = shift;
    local ($@, $!, $?);
    $self->_give_back if $self->{ours};
    return;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Stream::Takeover - Takes a response over from the PSGI server

=head1 SYNOPSIS

    use EventSource::Stream::Takeover;

    my $why = EventSource::Stream::Takeover->obstacle({REQUEST_METHOD => 'POST'});
    print "not taken over: $why\n" if defined $why;

=head1 DESCRIPTION

How a response leaves its server:

=over

=item 1

The client's socket is duplicated, and one end of a socketpair put in its place.

=item 2

The server responds, and what it writes, the head, is read from the other end.

=item 3

A comment is written through the server's writer and read back: as it is, or as one chunk. If it comes back as anything
else, something filters the body.

=item 4

In any doubt the socket is put back where it was, what was captured is sent to the client, and the server's writer is
used. Nothing is lost.

=item 5

Otherwise the head, without C<Transfer-Encoding> and with C<Connection: close>, is what the native stream begins with. Its
version is HTTP/1.0 or HTTP/1.1, whatever the client wrote, which Starman and uWSGI repeat. The server is
left with F</dev/null>, to which it ends its response.

=back

Feersum queues its head and frames the body, so there the stream waits until the head is out, and frames the same way:
L<EventSource::Stream::Takeover::Feersum>.

Not taken over are: responses to anything but GET; what comes without C<psgix.io>, or where that is no connection (CGI,
FastCGI, tests in process); TLS; uWSGI with threads or TLS; a body that is filtered (Deflater, SimpleContentFilter,
AccessLog::Timed); writers of servers that are not known.

=head1 METHODS

=head2 begin

    my ($stream, $why, @writer) = EventSource::Stream::Takeover->begin($env, $respond, $response, \%settings);

Responds, and returns the native stream; or C<undef> and why not. If there has been a response, a third value follows: the
server's writer, or C<undef> if a middleware has replaced the body. Dies of what the responder dies of, and then the server has its socket again.

=head2 has_left

    my $left = EventSource::Stream::Takeover->has_left($env);

Whether the client of this request is known to have left, because its connection was reset, or because an earlier request
of the same connection was taken over: a server that reads several requests at once (Starlet) runs the next one all the
same, on F</dev/null>.

=head2 obstacle

    my $why = EventSource::Stream::Takeover->obstacle($env);

What stands against it, as far as the environment shows; C<undef> if nothing does, or if the client has left.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
