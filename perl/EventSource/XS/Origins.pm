package EventSource::XS::Origins;
use strict;
use warnings;

# The pages of other origins: what they may do, and what a browser is told about it (Fetch, section 3.2: the CORS
# protocol).

use EventSource::XS::ErrorLog;
use EventSource::XS::Response;

my $ORIGIN = qr{\A(?:[*]|[A-Za-z][A-Za-z0-9+.-]*://[^/?\#\s]+)\z};

# The methods that only read (RFC 9110, section 9.2.1, and QUERY, which is defined as safe too).
my %IS_SAFE = map { ($_ => 1) } qw(GET HEAD OPTIONS QUERY);

# The headers that clients send with a stream's request and that a browser asks permission for. The last three are those of
# agents that trace requests: they add them to each fetch of a page.
my @REQUEST_HEADERS = (
    qw(Authorization Cache-Control Content-Type Last-Event-ID Prefer X-Requested-With),    #
    qw(Baggage Traceparent Tracestate),
);

my $HEADER = qr/[!#\$%&'*+.^_`|~0-9A-Za-z-]+/;    # a token (RFC 9110, section 5.6.2)

my $MAX_ASKED = 1000;                             # bytes of the headers that a page may ask for

my $MAX_AGE = 7200;                               # seconds that a browser may remember a permission

my $MAX_REPORTED = 10;                            # refused origins that are logged: a client may send any
my $MAX_LENGTH   = 100;                           # characters of one

my %is_reported;

# Public methods

# Return the rights of the page that made a request, as a reference to a hash: may_write, true if it may use methods that
# change something; is_cross_origin, true if it is of another origin that may read; asks_for, the headers that a listed origin
# asks for in a preflight; and headers, the CORS headers of the response, as names and values in an array. Returns an empty list
# if the callback died, which has been reported to psgi.errors under the name of the module. A hub, if there is one, counts
# refused origins.
sub access {
    my ($class, $module, $origins, $env, $hub) = @_;
    my $origin    = $env->{HTTP_ORIGIN};
    my $is_public = grep { $_ eq '*' } _list($origins);
    my @listed    = grep { $_ ne '*' } _list($origins);
    my @vary      = ref $origins eq 'CODE' || @listed ? (Vary => 'Origin') : ();
    return {may_write => 1, headers => \@vary} if !defined $origin;

    my $is_listed = grep { lc $_ eq lc $origin } @listed;
    if (ref $origins eq 'CODE') {
        my $answer = EventSource::XS::ErrorLog->call_back($env, "$module: origins", $origins, $origin, $env) or return;
        $is_listed = $$answer;
    }
    my @explicit = ('Access-Control-Allow-Origin' => $origin, 'Access-Control-Allow-Credentials' => 'true');
    my $asked    = $env->{HTTP_ACCESS_CONTROL_REQUEST_HEADERS};
    return {may_write => 1, is_cross_origin => 1, asks_for => $asked, headers => [@explicit, @vary]} if $is_listed;
    return {may_write => 1, headers => \@vary} if _is_same_origin($origin, $env);
    my @public = $is_public ? ('Access-Control-Allow-Origin' => '*') : ();
    my $is_counted;
    my $refused = sub {
        return                              if $is_counted++;
        $hub->_call('count_refused_origin') if $hub && $hub->can('_call');
        _report($module, $origins, $env);
    };
    $refused->() if !$is_public;
    return {is_cross_origin => $is_public, refused => $refused, headers => [@public, @vary]};
}

# Throw an EventSource::Error with the code invalid and the field origins, by that Settings, if the value of the attribute
# is wrong. undef is allowed.
sub check {
    my ($class, $settings, $origins) = @_;
    $settings->refuse(origins => "origins must be origins such as 'https://example.com', '*', or a code reference")
        if grep { !defined || $_ !~ $ORIGIN } _list($origins);
    return;
}

# True if the client speaks TLS, with the server or with a proxy in front of it. A page cannot send these headers to another
# origin unasked, and a client that invents them is refused more, or given a cookie that it does not send by http.
sub is_https {
    my ($class, $env) = @_;
    return
           ($env->{'psgi.url_scheme'}        // '') eq 'https'
        || lc($env->{HTTP_X_FORWARDED_PROTO} // '') =~ /\A\s*https\b/
        || lc($env->{HTTP_X_FORWARDED_SSL}   // '') eq 'on'
        || ($env->{HTTP_FORWARDED} // '') =~ /\A[^,]*\bproto="?https\b/i;
}

# Return a PSGI response, a 403, if the page may not use the method; otherwise undef.
sub refusal {
    my ($class, $access, $method) = @_;
    return undef if $access->{may_write} || $IS_SAFE{$method};
    return _refused($access);
}

# Return the PSGI response to an OPTIONS. The methods are those of the application, without OPTIONS. A listed origin may send
# any headers: its pages act for the user anyway.
sub respond_to_options {
    my ($class, $access, @methods) = @_;
    my @allow = (Allow => join ', ', sort @methods, 'OPTIONS');
    return [204, \@allow, []] if $access->{may_write} && !$access->{is_cross_origin};
    my @allowed = grep { $access->{may_write} || $IS_SAFE{$_} } sort @methods;
    return _refused($access) if !$access->{is_cross_origin} || !@allowed;
    my @headers = (
        'Access-Control-Allow-Methods' => join(', ', @allowed),
        'Access-Control-Allow-Headers' => join(', ', @REQUEST_HEADERS, _further($access->{asks_for})),
        'Access-Control-Max-Age'       => $MAX_AGE,
    );
    return [204, [@allow, @headers], []];
}

# Private functions

# The headers that a preflight asks for beside those that all may send.
sub _further {
    my $asked = shift // '';
    return if length $asked > $MAX_ASKED || $asked !~ /\A$HEADER(?: *, *$HEADER)*\z/ || $asked =~ /[*]/;
    my %is_known = map { (lc $_ => 1) } @REQUEST_HEADERS;
    return grep { !$is_known{+lc}++ } split / *, */, $asked;
}

# True if the origin is that of the request. An https origin is one even if the server sees http: a proxy may terminate TLS.
# If the proxy says that it does, an http origin is another one, as anyone on the way may write its pages.
sub _is_same_origin {
    my ($origin, $env)       = @_;
    my ($scheme, $authority) = lc($origin) =~ m{\A(https?)://([^/]+)\z};
    return 0 if !$scheme || $scheme eq 'http' && __PACKAGE__->is_https($env);
    my $default = $scheme eq 'http' ? 80 : 443;
    my ($of_page, $of_request) = map { s/:$default\z//r } $authority, lc($env->{HTTP_HOST} // '');
    return $of_page eq $of_request;
}

# The origins of the attribute, which is one or an array of them. Code is none.
sub _list {
    my $value = shift;
    return ref $value eq 'ARRAY' ? @$value : defined $value && ref $value ne 'CODE' ? ($value) : ();
}

sub _refused {
    my $access = shift;
    $access->{refused}->();
    return EventSource::XS::Response->text(403, 'Not from this origin');
}

# Reports an origin once in a process: the page sees an error of its browser, which does not name the remedy.
sub _report {
    my ($module, $origins, $env) = @_;
    my $text = substr $env->{HTTP_ORIGIN} =~ s/[^\x21-\x7E]/?/gr, 0, $MAX_LENGTH;
    return if $is_reported{$text} || keys %is_reported >= $MAX_REPORTED;
    $is_reported{$text} = 1;
    my $allows_none = ref $origins eq 'ARRAY' && !@$origins;
    EventSource::XS::ErrorLog->write($env->{'psgi.errors'}, $module,
              "a page of $text was refused: "
            . ($allows_none ? '' : 'if it may read or write here, let origins name it; ')
            . 'if it is of this site, let the proxy pass the header Host on');
    return;
}

1;
