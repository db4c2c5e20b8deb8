package EventSource::XS::Doctor::Check::Protocol;
use strict;
use warnings;

# The version of HTTP, and the framing of the response.

use EventSource::XS::Doctor::Finding qw(named ok warning);

my $LOCAL =
    qr/\A(?:localhost|127\.[0-9.]+|\[?::1\]?|10\.[0-9.]+|192\.168\.[0-9.]+|172\.(?:1[6-9]|2[0-9]|3[01])\.[0-9.]+)\z/;

# Public methods

sub findings {
    my ($class, $seen) = @_;
    my $stream = $seen->{stream};
    return if !$stream || !$stream->has_head;
    return (
        named(version => _version($stream)),
        named(http2   => _http2($seen)),
        $seen->is_streaming ? named(framing => _framing($stream)) : ()
    );
}

# Private functions

sub _framing {
    my $stream = shift;
    my $length = $stream->header('Content-Length');
    return warning("The response has a Content-Length of $length, so it was complete before it was sent, and ends.",
        'Send a stream without Content-Length. Do not let middleware compute one.')
        if defined $length;
    return ok('The response is chunked, so a client can tell its end from a cut.')
        if $stream->{is_chunked};
    return warning(
        'The response is not chunked: it ends with the connection, so no client and no proxy can tell its end from a cut.',
        'Let the proxy speak HTTP/1.1 to the application, and pass chunks on.',
        proxies => ['framing']
    );
}

sub _http2 {
    my $seen = shift;
    my $url  = $seen->{url};
    my $limit =
        'a browser opens at most six connections to an origin, for all tabs together, and each stream takes one';
    my @mend = (
        'Offer HTTP/2 by ALPN, with TLS; or keep to one stream for each browser, or give streams a host name.',
        proxies => ['http2'],
    );
    return ok('The server offers HTTP/2, so a browser opens many streams on one connection.')
        if ($seen->{alpn} || '') eq 'h2';
    return warning("The server does not offer HTTP/2: over HTTP/1.1 $limit.", @mend)
        if defined $seen->{alpn};
    my $sentence = "The URL has no TLS, so browsers use HTTP/1.1: $limit.";
    return ok("$sentence For clients on this machine or network that may be enough.")
        if $url->scheme eq 'https' || $url->host =~ $LOCAL;
    return warning($sentence, @mend);
}

sub _version {
    my $stream = shift;
    return if ($stream->{version} || '') ne '1.0';
    return warning(
        'The response is HTTP/1.0, without chunks and without kept connections.',
        'Let the server, or the proxy in front of it, speak HTTP/1.1.',
        proxies => ['framing']
    );
}

1;
