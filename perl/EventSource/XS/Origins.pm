package EventSource::XS::Origins;
use strict;
use warnings;

# The pages of other origins: what they may do, and what a browser is told about it (Fetch, section 3.2: the CORS
# protocol).

our $VERSION = '0.100';

use EventSource::XS::Report;
use EventSource::XS::Response;

# A wrong attribute is reported at the line of the application.
our @CARP_NOT = qw(Plack::App::EventSource Plack::App::EventSource::PubSub);

my $ORIGIN = qr{\A(?:[*]|[A-Za-z][A-Za-z0-9+.-]*://[^/?\#\s]+)\z};

# The methods that only read (RFC 9110, section 9.2.1, and QUERY, which is defined as safe too).
my %IS_SAFE = map { ($_ => 1) } qw(GET HEAD OPTIONS QUERY);

# The headers that clients send with a stream's request and that a browser asks permission for.
my $REQUEST_HEADERS = 'Authorization, Cache-Control, Content-Type, Last-Event-ID, X-Requested-With';

my $MAX_AGE = 7200;    # seconds that a browser may remember a permission

# Public methods

sub access {
    my ($class, $module, $origins, $env) = @_;
    my $origin    = $env->{HTTP_ORIGIN};
    my $is_public = grep { $_ eq '*' } _list($origins);
    my @listed    = grep { $_ ne '*' } _list($origins);
    my @vary      = ref $origins eq 'CODE' || @listed ? (Vary => 'Origin') : ();
    return {may_write => 1, headers => \@vary} if !defined $origin;

    my $is_listed = grep { lc $_ eq lc $origin } @listed;
    if (ref $origins eq 'CODE') {
        my $answer = EventSource::XS::Report->call_back($env, "$module: origins", $origins, $origin, $env) or return;
        $is_listed = $$answer;
    }
    my @explicit = ('Access-Control-Allow-Origin' => $origin, 'Access-Control-Allow-Credentials' => 'true');
    return {may_write => 1, is_cross_origin => 1, headers => [@explicit, @vary]} if $is_listed;
    return {may_write => 1, headers => \@vary} if _is_same_origin($origin, $env);
    my @public = $is_public ? ('Access-Control-Allow-Origin' => '*') : ();
    return {is_cross_origin => $is_public, headers => [@public, @vary]};
}

sub check {
    my ($class, $settings, $origins) = @_;
    $settings->refuse(origins => "origins must be origins such as 'https://example.com', '*', or a code reference")
        if grep { !defined || $_ !~ $ORIGIN } _list($origins);
    return;
}

sub refusal {
    my ($class, $access, $method) = @_;
    return undef if $access->{may_write} || $IS_SAFE{$method};
    return _refused();
}

sub respond_to_options {
    my ($class, $access, @methods) = @_;
    my @allow = (Allow => join ', ', sort @methods, 'OPTIONS');
    return [204, \@allow, []] if $access->{may_write} && !$access->{is_cross_origin};
    my @allowed = grep { $access->{may_write} || $IS_SAFE{$_} } sort @methods;
    return _refused() if !$access->{is_cross_origin} || !@allowed;
    my @headers = (
        'Access-Control-Allow-Methods' => join(', ', @allowed),
        'Access-Control-Allow-Headers' => $REQUEST_HEADERS,
        'Access-Control-Max-Age'       => $MAX_AGE,
    );
    return [204, [@allow, @headers], []];
}

# Private functions

# True if the client speaks TLS, with the server or with a proxy in front of it. A page cannot send these headers to another
# origin unasked, and a client that invents them is refused more.
sub _is_https {
    my $env = shift;
    return
           $env->{'psgi.url_scheme'} eq 'https'
        || lc($env->{HTTP_X_FORWARDED_PROTO} // '') =~ /\A\s*https\b/
        || lc($env->{HTTP_X_FORWARDED_SSL}   // '') eq 'on'
        || ($env->{HTTP_FORWARDED} // '') =~ /\A[^,]*\bproto="?https\b/i;
}

# True if the origin is that of the request. An https origin is one even if the server sees http: a proxy may terminate TLS.
# If the proxy says that it does, an http origin is another one, as anyone on the way may write its pages.
sub _is_same_origin {
    my ($origin, $env)       = @_;
    my ($scheme, $authority) = lc($origin) =~ m{\A(https?)://([^/]+)\z};
    return 0 if !$scheme || $scheme eq 'http' && _is_https($env);
    my $default = $scheme eq 'http' ? 80 : 443;
    my ($of_page, $of_request) = map { s/:$default\z//r } $authority, lc($env->{HTTP_HOST} // '');
    return $of_page eq $of_request;
}

# The origins of the attribute, which is one or an array of them. Code is none.
sub _list {
    my $value = shift;
    return ref $value eq 'ARRAY' ? @$value : defined $value && ref $value ne 'CODE' ? ($value) : ();
}

sub _refused { return EventSource::XS::Response->text(403, 'Not from this origin') }

1;
__END__

=encoding utf8

=head1 NAME

EventSource::XS::Origins - What pages of other origins may do

=head1 SYNOPSIS

    use EventSource::XS::Origins;
    use EventSource::XS::Response;

    my $app = sub {
        my $env      = shift;
        my $access   = EventSource::XS::Origins->access('My::App', ['https://shop.example'], $env);
        my $response = EventSource::XS::Origins->refusal($access, $env->{REQUEST_METHOD})
            || EventSource::XS::Response->of(200, 'text/event-stream', "data: hello\n\n");
        return EventSource::XS::Response->completed($response, cors => $access->{headers});
    };

=head1 DESCRIPTION

A browser lets a page read the response of another origin only if the response allows it (Fetch, section 3.2, the CORS
protocol). The applications of this distribution share this module for the attribute C<origins>.

=head1 THE ATTRIBUTE

    origins => 'https://shop.example'
    origins => ['https://shop.example', 'http://localhost:5000']
    origins => '*'
    origins => sub { my ($origin, $env) = @_; ... }

The origins whose pages may make requests and read the responses: one, or an array of them. An origin has a scheme, a
host, and a port unless it is the default of the scheme. The case of the letters does not count.

=over

=item *

A page of a listed origin may send cookies (C<withCredentials>): the response has C<Access-Control-Allow-Origin> for that
origin alone, C<Access-Control-Allow-Credentials> and C<Vary: Origin>.

=item *

A star lets all other pages read (GET, HEAD, QUERY), without credentials. They may use no other method.

=item *

A callback is called for each request that has an C<Origin> header, with the origin and the PSGI environment. If it
returns true, the origin counts as listed. If it dies, the response is 500, and C<psgi.errors> has the exception.

=back

A response that has C<Access-Control-Allow-Origin> already, because the application's C<headers> or callbacks set it, is
not changed.

A browser sends cookies with a form of any other page, without a preflight request. So a request that may change
something (POST, PUT, PATCH, DELETE) with an C<Origin> header that is neither listed nor the request's own is a 403. The
request's own origin has the host and port of its C<Host> header and the scheme C<https>, or C<http> if the request came
without TLS; a proxy must pass C<Host> on. A request without C<Origin> comes from a program or from an old browser.

C<OPTIONS>, the preflight request of a browser, is answered with 204 and these headers: C<Allow>,
C<Access-Control-Allow-Methods>, C<Access-Control-Allow-Headers> (C<Authorization>, C<Cache-Control>, C<Content-Type>,
C<Last-Event-ID>, C<X-Requested-With>) and C<Access-Control-Max-Age>, two hours. A page of an origin that may nothing is
answered with 403.

=head1 METHODS

=head2 access

    my $access = EventSource::XS::Origins->access('My::App', $origins, $env);

Return the rights of the page that made a request, as a reference to a hash: C<may_write>, true if it may use methods
that change something; C<is_cross_origin>, true if it is of another origin that may read; and C<headers>, the CORS
headers of the response, as names and values in an array. Returns an empty list if the callback died, which has been
reported to C<psgi.errors> under the name of the module.

=head2 check

    EventSource::XS::Origins->check($SETTINGS, $origins);

Throw an L<EventSource::Error> with the code C<invalid> and the field C<origins>, by that L<EventSource::XS::Settings>, if
the value of the attribute is wrong. C<undef> is allowed.

=head2 refusal

    my $response = EventSource::XS::Origins->refusal($access, $method);

Return a PSGI response, a 403, if the page may not use the method; otherwise C<undef>.

=head2 respond_to_options

    my $response = EventSource::XS::Origins->respond_to_options($access, @methods);

Return the PSGI response to an OPTIONS. The methods are those of the application, without OPTIONS.

=head1 SEE ALSO

L<Plack::App::EventSource/origins>, L<Plack::App::EventSource::PubSub/origins>, L<https://fetch.spec.whatwg.org/>

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
