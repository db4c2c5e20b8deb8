package EventSource::XS::RequestBody;
use strict;
use warnings;

# Has the body of a request complete before its stream begins. The server's socket is replaced then, and some servers
# read the body from that socket only when the application asks for it.

our $VERSION = '0.100';

use EventSource::Error;
use EventSource::XS::Adapter;
use Stream::Buffered;

my $PIECE = 65_536;    # bytes that are read at once

# The exception of Plack::Request for a body that ends early, a plain string. Some servers have one of their own.
my $INCOMPLETE = qr/\ABad Content-Length: maybe client disconnect/;

# Public methods

sub buffer {
    my ($class, $env) = @_;
    my $refusal = $class->refusal($env);
    return $refusal         if $refusal;
    _give_empty_input($env) if !defined $env->{'psgi.input'};
    my $reads_once = EventSource::XS::Adapter->of_env($env)->reads_body_once;
    return undef if !$reads_once && ($env->{'psgix.input.buffered'} || $env->{'psgi.nonblocking'});
    my $input;
    $class->try_reading(sub { $input = _copy($env->{'psgi.input'}, $env->{CONTENT_LENGTH} || 0) });

    if (!$input) {
        return undef if $reads_once;    # a middleware has read the body before
        return [400, 'The body cannot be read'];
    }
    @$env{qw(psgi.input psgix.input.buffered)} = ($input, !!1);
    return undef;
}

sub refusal {
    my ($class, $env) = @_;
    my $length = $env->{CONTENT_LENGTH};
    $length = '' if !defined $length;
    return [400, 'The length of the body is not a number'] if $length !~ /\A[0-9]*\z/;

    # A server that decodes a chunked body sets CONTENT_LENGTH. Other servers pass on the chunks, or nothing.
    return [411, 'Content-Length is required'] if $length eq '' && defined $env->{HTTP_TRANSFER_ENCODING};
    return undef;
}

sub try_reading {
    my ($class, $read) = @_;
    my $error;
    {
        local ($@, $SIG{__DIE__});    # a handler of the server or the application would log the mistakes of clients
        $error = $@ if !eval { $read->(); 1 };
    }
    die $error if defined $error && !_is_incomplete($error);
    return;
}

# Private functions

# A handle on a copy of the body; undef if the body ends early. It has the whole body and no byte more: behind the body
# there may be another request.
sub _copy {
    my ($input, $length) = @_;
    my $buffer = Stream::Buffered->new($length);
    for (my $left = $length; $left > 0;) {
        my $count = $input->read(my $piece, $left < $PIECE ? $left : $PIECE);
        return undef if !$count;
        $buffer->print($piece);
        $left -= $count;
    }
    EventSource::Error->throw(
        code    => 'unavailable',
        message => "EventSource::XS::RequestBody: a body cannot be stored: $!"
    ) if $buffer->size != $length;
    return $buffer->rewind;
}

# A server may give no handle if there is no body, but a value that cannot be assigned to.
sub _give_empty_input {
    my $env = shift;
    delete $env->{'psgi.input'};
    $env->{'psgi.input'} = Stream::Buffered->new->rewind;
    return;
}

sub _is_incomplete {
    my $error = shift;
    return EventSource::XS::Adapter->is_read_failure($error) || (!ref $error && $error =~ $INCOMPLETE);
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::XS::RequestBody - The body of a request, complete before its stream begins

=head1 SYNOPSIS

    use EventSource::XS::RequestBody;
    use Plack::Request;

    my $app = sub {
        my $env = shift;
        if (my $refusal = EventSource::XS::RequestBody->buffer($env)) {
            return [$refusal->[0], ['Content-Type' => 'text/plain'], [$refusal->[1]]];
        }
        my $length = length Plack::Request->new($env)->content;
        return [200, ['Content-Type' => 'text/event-stream'], ["data: $length bytes\n\n"]];
    };

=head1 DESCRIPTION

The handler of a stream runs when the head of the response has been sent and the stream has the client's socket
(L<EventSource::XS::Stream::Takeover>). Most servers have read the body of the request by then. uWSGI,
HTTP::Server::Simple::PSGI and the FastCGI handler of Plack read it from the client when the application asks for it,
which would be too late. So the applications of this distribution have the body complete before they respond.

Only a request whose method the application has chosen to allow is read, never a GET. Such a request then takes the
server as long as if the application had read the body itself: a client that sends nothing holds a uWSGI worker for
C<socket-timeout>, 4 seconds by default, after each byte. A limit of the size is the server's or the proxy's task
(C<limit-post> of uWSGI, C<client_max_body_size> of nginx).

=head1 METHODS

=head2 buffer

    my $refusal = EventSource::XS::RequestBody->buffer($env);

Read the body, if the server has not (C<psgix.input.buffered>), and put a handle on it into C<psgi.input>. A body of
more than 1 MiB is stored in a temporary file. C<psgi.input> is a handle in any case, also where the server gives none
for a request without a body. Under an event loop nothing is read from the client: it would stop the loop.

Feersum 1.410 has the body in memory, but its C<psgi.input> can be read only once, although C<psgix.input.buffered> is
true. So the body is copied there too, and several calls of L<Plack::Request> find it.

Returns C<undef>; or the status and the reason of a L</refusal>, as a reference to an array. Throws an
L<EventSource::Error> with the code C<unavailable> if the body cannot be stored. An exception that the client did not
cause is thrown again: that of a signal's handler, for example.

=head2 refusal

    my $refusal = EventSource::XS::RequestBody->refusal($env);

Return why the body cannot be read, as far as the header shows: the status and the reason, in a reference to an array;
or C<undef>.

=over

=item Status 400

C<Content-Length> is not a number. L</buffer> returns this status also if the client disconnects before the body is complete,
or sends nothing for too long.

=item Status 411

The body is chunked, and the server does not decode it (RFC 9110, section 15.5.12). Starman and Starlet do, and proxies
such as nginx do for every server.

=back

=head2 try_reading

    EventSource::XS::RequestBody->try_reading(sub { ... });

Call code that reads the body of a request, and ignore the exception that says that the client did not send it. Any
other exception is thrown again.

=head1 SEE ALSO

L<Plack::App::EventSource/methods>, L<EventSource::XS::Adapter/send_timeouts, read_failures>

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
