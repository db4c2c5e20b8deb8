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
#    probed, and a takeover that has failed is tried again for the next request. Of a plain request a writer is not, whose code
#    stands in the server's own package: nothing filters between, and the head says whether it writes chunks.
# 4. In any doubt the socket is put back where it was, the captured bytes are sent to the client, and the server's writer is
#    used. Nothing is lost.
# 5. Otherwise the native stream begins with the captured head, with Connection: close. To a client whose request says HTTP/1.1
#    (Adapter::takes_chunks) the head says HTTP/1.1 and Transfer-Encoding: chunked, whatever the server says, so that the client
#    can tell an end from a cut, and because some clients hand on chunks at once but collect plain bytes; unless the application
#    has set Content-Length.
#
# All that is one call of _begin (src/xs/takeover.xs). If something dies on the way, the server gets its socket back. For a
# plain request, as most are, that also looks up the socket and the writer itself, without the methods of adapters: that saves a
# quarter of all that a stream costs its server (bench/connect, stepwise).

use EventSource::XS::Adapter;
use EventSource::XS::Library;
use EventSource::XS::Stream::Native;
use EventSource::XS::Stream::Obstacle;

my $OBSTACLE = 'EventSource::XS::Stream::Obstacle';

my $INTERPRETER = EventSource::XS::Stream::Native->interpreter;

# The most bytes of headers that a response may have. The pipe takes twice as many.
my $MAX_HEAD = 32_768;

# Public methods

# Takes the response over, on the descriptor that the adapter has. Returns the stream; or undef, the obstacle, and the writer if
# the server has responded.
sub begin {
    my ($adapter, $env, $respond, $response, $setting, $opening) = @_;
    return (undef, $OBSTACLE->new('size')) if _is_large($response->[1]);
    my @settings = (EventSource::XS::Stream::Native->shared_settings($setting), $$INTERPRETER);
    my @request =
        (EventSource::XS::Adapter->plain, scalar $adapter->descriptor($env), $adapter, $env->{'psgi.nonblocking'});
    my ($stream, $code, $text, @writer) =
        EventSource::XS::Stream::Native::_begin($env, $respond, $response, $opening, @settings, @request);
    return $stream || (undef, $OBSTACLE->new($code, $text), @writer);
}

# src/xs calls this with a writer that it does not know. Returns undef if no adapter does, or else whether the client takes
# chunks. The server is to have sent its head.
sub examine_writer {
    my ($writer, $env, $adapter) = @_;
    return undef if !$writer;
    my $known = EventSource::XS::Adapter->of_writer($writer);
    if (($known || $adapter || 'EventSource::XS::Adapter')->sends_head_late) {
        local $| = 1;    ## no critic (RequireLocalizedPunctuationVars) some writers buffer otherwise
        $writer->write('');
    }
    return $known ? $known->takes_chunks($env) || 0 : undef;
}

# Private functions

sub _is_large {
    my $headers = shift;
    no warnings 'uninitialized';
    return 4 * @$headers + length(join '', @$headers) > $MAX_HEAD;
}

1;
