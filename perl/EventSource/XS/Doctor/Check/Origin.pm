package EventSource::XS::Doctor::Check::Origin;
use strict;
use warnings;

# Looks whether pages of another origin may read the stream (CORS).

use EventSource::XS::Doctor::Finding qw(finding named ok warning wrong);

# Public methods

sub findings {
    my ($class, $seen) = @_;
    return if !defined $seen->{origin} || !$seen->{stream} || !$seen->{stream}->has_head;
    return (_origin($seen, $seen->{stream}), named(preflight => _preflight($seen)));
}

# Private functions

# The mistake in the headers for an origin; undef if there is none.
sub _forbids {
    my ($seen, $response) = @_;
    my $allowed = $response->header('Access-Control-Allow-Origin');
    return 'has no Access-Control-Allow-Origin'        if !defined $allowed;
    return "has Access-Control-Allow-Origin: $allowed" if $allowed ne '*' && $allowed ne $seen->{origin};
    return                                             if !defined $seen->{cookie};
    return 'has Access-Control-Allow-Origin: *, which is not enough for a page that sends cookies' if $allowed eq '*';
    return 'has no Access-Control-Allow-Credentials: true, which a page that sends cookies needs'
        if ($response->header('Access-Control-Allow-Credentials') || '') ne 'true';
    return;
}

sub _origin {
    my ($seen, $stream) = @_;
    my $allowed = $stream->header('Access-Control-Allow-Origin');
    my $trouble = _forbids($seen, $stream);
    return wrong(
        "A page of $seen->{origin} may not read the stream: the response $trouble.",
        "Allow the origin in the application (origins => ['$seen->{origin}'] of Plack::App::EventSource), or in the proxy.",
        proxies => [origin => $seen->{origin}]
    ) if defined $trouble;
    return warning(
        "Pages of $seen->{origin} may read the stream, but without Vary: Origin a cache may give it to other origins.",
        'Send Vary: Origin with an Access-Control-Allow-Origin that names one.'
    ) if $allowed ne '*' && ($stream->header('Vary') || '') !~ /\bOrigin\b|\*/i;
    return ok("Pages of $seen->{origin} may read the stream.");
}

# EventSource of a browser sends no preflight. Libraries that use fetch do, for Last-Event-ID and headers of their own.
sub _preflight {
    my $seen     = shift;
    my $response = $seen->{preflight} or return;
    my $status   = $response->status;
    $seen->measure(preflight => status => $status);
    my ($verdict, $who) =
        @{$seen->{headers}} || $seen->{method} ne 'GET'
        ? (wrong => 'this request needs it in a browser')
        : (warning => 'client libraries that use fetch send it when they resume');
    my $trouble = !defined $status ? 'was not answered' : $status !~ /\A2/ ? "got the status $status" : undef;
    $trouble = _forbids($seen, $response) if !defined $trouble;
    my $headers = lc($response->header('Access-Control-Allow-Headers') || '');
    my @missing = grep { $headers !~ /(?:\A|[\s,])\Q$_\E(?:[\s,]|\z)|\A\s*\*\s*\z/ } 'last-event-id',
        map { lc $_->[0] } @{$seen->{headers}};
    $trouble = "does not allow @missing"                       if !defined $trouble && @missing;
    return ok('The preflight (OPTIONS) allows Last-Event-ID.') if !defined $trouble;
    return finding(
        $verdict,
        "The preflight (OPTIONS) $trouble; $who.",
        'Answer OPTIONS with 204 and Access-Control-Allow-Origin, -Headers (Last-Event-ID) and -Methods.'
    );
}

1;
