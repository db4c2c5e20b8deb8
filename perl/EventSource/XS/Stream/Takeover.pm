package EventSource::XS::Stream::Takeover;
use strict;
use warnings;

# Takes a response over from a PSGI server that writes to its socket itself. The server writes the head into a
# pipe and is left with /dev/null. In any doubt the server gets its socket back.
#
# 1. The client's socket is duplicated, and one end of a pipe is put in its place.
# 2. The server responds. It writes the head, which is read from the other end.
# 3. A comment is written through the server's writer and read back. It comes back unchanged or as one chunk; if it comes back
#    as anything else, something filters the body. Whether a middleware filters may depend on the request, so each response is
#    probed, and a takeover that has failed is tried again for the next request. In one step (continue_plainly) a writer is
#    not, whose code stands in the server's own package: nothing filters between, and the head says whether it writes chunks.
# 4. In any doubt the socket is put back where it was, the captured bytes are sent to the client, and the server's writer is
#    used. Nothing is lost.
# 5. Otherwise the native stream begins with the captured head, with Connection: close. To a client whose request says HTTP/1.1
#    (Adapter::takes_chunks) the head says HTTP/1.1 and Transfer-Encoding: chunked, whatever the server says, so that the client
#    can tell an end from a cut, and because some clients hand on chunks at once but collect plain bytes; unless the application
#    has set Content-Length.

use EventSource::XS::Adapter;
use EventSource::XS::Library;
use EventSource::XS::Stream::Native;
use EventSource::XS::Stream::Obstacle;

my $OBSTACLE = 'EventSource::XS::Stream::Obstacle';

# The class of the objects that Plack::Util::inline_object makes. Calling its code is quicker than its methods.
my $INLINE_OBJECT = 'Plack::Util::Prototype';

# The most bytes of headers that a response may have. The pipe holds twice as many.
my $MAX_HEAD = 32_768;

# Public methods

# The object, which _capture makes, is in src/runtime/handles/takeover.rs. If something dies on the way, it gives the server its
# socket back when it is freed.
sub begin {
    my ($class, $adapter, $env, $respond, $response, $setting, $opening) = @_;
    return (undef, $OBSTACLE->new('size')) if _is_large($response->[1]);
    my ($self, @why) = $class->_capture($adapter->descriptor($env));
    return (undef, $OBSTACLE->new(@why)) if !$self;
    return $self->_open_captured($respond->($response), $adapter, $env, $setting, $opening);
}

# Continues where _begin_plainly of EventSource::XS::Stream::Native has found something special: in src/xs, it takes over most
# responses in one step. Takes what that returned, and returns what Stream::open is to have: as begin does. The step saves a
# quarter of all that a stream costs its server (bench/connect, stepwise); that is worth its 200 lines of C. t/native/plainly.t
# compares both ways.
sub continue_plainly {
    my ($env, $setting, $opening, $self, $writer, @why) = @_;
    return $self->_open_captured($writer, 'EventSource::XS::Adapter', $env, $setting, $opening) if $self && !@why;
    return if !@why || (!$self && $why[0] eq 'socket');  # descriptor_obstacle of the adapter has more to say about that
    $self->_restore if $self;
    return (undef, $OBSTACLE->new(@why), $self ? $writer : ());
}

# Private functions

# The server has responded into the pipe.
sub _open_captured {
    my ($self, $writer, $adapter, $env, $setting, $opening) = @_;
    my $known = $writer && EventSource::XS::Adapter->of_writer($writer);
    _write($writer, '') if $writer && ($known || $adapter)->sends_head_late;
    my ($stream, @why);

    if    (!$self->_has_head) { @why = 'head' }
    elsif (!$known)           { @why = 'writer' }
    else {
        _write($writer, EventSource::XS::Stream::Native->shared_settings($setting)->{probe});
        my @client = ($env->{'psgi.nonblocking'}, $known->takes_chunks($env));
        ($stream, @why) = EventSource::XS::Stream::Native->open_captured($self, $setting, $opening, @client);
    }
    if ($stream) {
        my $close = ref $writer eq $INLINE_OBJECT && $writer->{close};
        local ($@, $SIG{__DIE__});
        eval { $close ? $close->() : $writer->close };
        return $stream;
    }
    $self->_restore;
    return (undef, $OBSTACLE->new(@why), $writer);
}

sub _is_large {
    my $headers = shift;
    no warnings 'uninitialized';
    return 4 * @$headers + length(join '', @$headers) > $MAX_HEAD;
}

sub _write {
    my ($writer, $bytes) = @_;
    my $write = ref $writer eq $INLINE_OBJECT && $writer->{write};
    local $| = 1;    ## no critic (RequireLocalizedPunctuationVars) some writers buffer otherwise
    $write ? $write->($bytes) : $writer->write($bytes);
    return;
}

1;
