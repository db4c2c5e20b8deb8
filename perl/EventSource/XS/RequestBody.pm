package EventSource::XS::RequestBody;
use strict;
use warnings;

# Reads the body of a request completely before its stream begins. The server's socket is replaced then, and some servers
# read the body from that socket only when the application asks for it.
#
# Only a request whose method the application has chosen to allow is read, never a GET: its client could occupy a worker that it
# cannot occupy today. Such a request takes the server as long as if the application had read the body itself. A limit of the
# size is the server's or the proxy's task.

use EventSource::XS::Adapter;
use EventSource::XS::Settings;
use Stream::Buffered;

my $SETTINGS = EventSource::XS::Settings->new('EventSource::XS');

my $PIECE = 65_536;    # bytes that are read at once

# The exception of Plack::Request for a body that ends early, a plain string. Some servers have one of their own.
my $INCOMPLETE = qr/\ABad Content-Length: maybe client disconnect/;

# Public methods

# Read the body, if the server has not (psgix.input.buffered), and put a handle on it into psgi.input. A body of more than 1
# MiB is stored in a temporary file. psgi.input is a handle in any case, also where the server gives none for a request
# without a body. Under an event loop nothing is read from the client: it would stop the loop.
sub buffer {
    my ($class, $env) = @_;
    my $refusal = $class->refusal($env);
    return $refusal if $refusal;
    if (!defined $env->{'psgi.input'}) {
        delete $env->{'psgi.input'};    # a server may give a value that cannot be assigned to
        $env->{'psgi.input'} = Stream::Buffered->new->rewind;
    }
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

# Return why the body cannot be read, as far as the header shows: the status and the reason, in a reference to an array; or
# undef.
sub refusal {
    my ($class, $env) = @_;
    my $length = $env->{CONTENT_LENGTH};
    $length = '' if !defined $length;
    return [400, 'The length of the body is not a number'] if $length !~ /\A[0-9]*\z/;

    # A server that decodes a chunked body sets CONTENT_LENGTH. Other servers pass on the chunks, or nothing.
    return [411, 'Content-Length is required'] if $length eq '' && defined $env->{HTTP_TRANSFER_ENCODING};
    return undef;
}

# Call code that reads the body of a request, and ignore the exception that says that the client did not send it. Any other
# exception is thrown again.
sub try_reading {
    my ($class, $read) = @_;
    my $error;
    {
        local ($@, $SIG{__DIE__});    # a handler of the server or the application would log the mistakes of clients
        $error = $@ if !eval { $read->(); 1 };
    }
    return     if !defined $error || EventSource::XS::Adapter->is_read_failure($error);
    die $error if ref $error      || $error !~ $INCOMPLETE;
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
    $SETTINGS->throw(unavailable => "the body of a request cannot be stored: $!") if $buffer->size != $length;
    return $buffer->rewind;
}

1;
