package EventSource::XS::Doctor::Check::Caching;
use strict;
use warnings;

# Looks whether a cache may keep the response, or has answered itself, and what the head says to proxies.

use EventSource::XS::Doctor::Finding qw(named ok warning wrong);

my $NO_CACHE = 'Send Cache-Control: no-cache, no-store. Do not let a proxy cache or change text/event-stream.';

# Public methods

sub findings {
    my ($class, $seen) = @_;
    return if !$seen->is_streaming;
    my $stream = $seen->{stream};
    return (
        named(cached            => _cached($seen)),
        named(cache_control     => _control($stream)),
        named(x_accel_buffering => _accel($stream)),
        named(incremental       => _incremental($stream))
    );
}

# Private functions

# nginx takes the header out of what it passes on.
sub _accel {
    my $stream = shift;
    my $value  = $stream->header('X-Accel-Buffering');
    return ok('X-Accel-Buffering is no, so nginx does not buffer the stream.')
        if defined $value && lc $value eq 'no';
    return wrong("X-Accel-Buffering is $value, so nginx buffers the stream.", 'Send X-Accel-Buffering: no.')
        if defined $value;
    return if ($stream->header('Server') || '') =~ /nginx/i;
    return ok('The response has no X-Accel-Buffering: an nginx in front would buffer it without proxy_buffering off.');
}

sub _cached {
    my $seen   = shift;
    my $stream = $seen->{stream};
    my @mend   = ($NO_CACHE, proxies => ['cache']);
    my ($name) = grep { _is_hit($_, $stream->header($_)) }
        qw(Age X-Cache X-Cache-Status X-Proxy-Cache CF-Cache-Status Cache-Status X-Varnish);
    return wrong("A cache has answered: the response has $name: " . $stream->header($name) . '.', @mend)
        if $name;
    my $repetition = $seen->{repetition} or return;
    my $avoidable =
        $seen->{is_avoidable}
        ? ' With a parameter in the URL, which eventsource-hub.js adds then, the server itself has answered.'
        : '';
    return wrong("A cache has answered: the response is that to another request.$avoidable",
        @mend, explains => [qw(ids poll resume second_client)],)
        if defined $seen->{is_avoidable};
    return wrong(
        'Two requests got the same events and the same end, and another query got others: a cache has answered.', @mend)
        if $repetition eq 'copy';
    return warning('Each request gets the same events, and then the end.',
        'Begin after the Last-Event-ID of the client, so that a client that reconnects receives no event twice.');
}

sub _control {
    my $stream  = shift;
    my $control = $stream->header('Cache-Control');
    return warning('The response has no Cache-Control, so a cache on the way may keep it.', $NO_CACHE)
        if !defined $control;
    my $has_no = $control =~ /\bno-(?:cache|store)\b|\bprivate\b/i;
    my ($age) = $control =~ /\bmax-age\s*=\s*"?([0-9]+)/i;
    return wrong("Cache-Control is $control, so caches may keep the response.", $NO_CACHE)
        if !$has_no && ($age || $control =~ /\bpublic\b/i);
    if (!$has_no && !defined $age) {
        my $vary =
            ($stream->header('Vary') || '') =~ /Last-Event-ID|\*/i ? '' : ' and it does not vary by Last-Event-ID';
        return warning("Cache-Control is $control, which does not forbid caches to keep the response$vary.", $NO_CACHE);
    }
    my $changes = $control =~ /\bno-transform\b/i ? '' : ' With no-transform a proxy would not compress it either.';
    return ok("Cache-Control is $control.$changes");
}

# The header that a proxy reads that knows RFC 10036. It leaves the header in the response.
sub _incremental {
    my $stream = shift;
    my $value  = $stream->header('Incremental');
    return ok('The response has no Incremental: ?1, with which RFC 10036 asks proxies to hold nothing back.')
        if !defined $value;
    return ok('Incremental is ?1, so a proxy that knows RFC 10036 holds nothing back.')
        if $value =~ /\A\?1\s*(?:;|\z)/;
    return warning("Incremental is $value, which proxies ignore (RFC 10036).", 'Send Incremental: ?1, once.');
}

sub _is_hit {
    my ($name, $value) = @_;
    return !!0 if !defined $value;
    return $value =~ /\A[1-9]/         if $name eq 'Age';
    return $value =~ /\A[0-9]+ [0-9]+/ if $name eq 'X-Varnish';
    return $value =~ /\bhit\b/i;
}

1;
