package EventSource::XS::Response;
use strict;
use warnings;

# Ordinary responses of this distribution's applications, and changes of any PSGI response.

use Plack::Util ();

# Public methods

# Return a copy of a PSGI response, an array or a code reference, with headers for CORS. The response itself stays as it is: the
# application may return it again. The headers are names and values in an array, which follow those of the response. They are
# left out if the response has Access-Control-Allow-Origin already: then the application decides. A page of another origin that
# may read the response may read the headers for it, too (Fetch, section 3.2.3).
sub completed {
    my ($class, $response, $cors) = @_;
    return _changed(
        $response,
        sub {
            my ($status, $own, @body) = @{$_[0]};
            return [$status, $class->with_cors($own, $cors), @body];
        }
    );
}

# Return a PSGI response as it is, but to HEAD a copy without the body. That has the length of the body: without it some servers
# send chunks, the last of them also to HEAD, and a client on a kept connection takes it for its next response.
sub for_method {
    my ($class, $method, $response) = @_;
    return $response if $method ne 'HEAD';
    return _changed(
        $response,
        sub {
            my ($status, $own, @body) = @{$_[0]};
            return $_[0] if !@body;
            my $length =
                Plack::Util::header_exists($own, 'Content-Length') ? undef : Plack::Util::content_length($body[0]);
            return [$status, [@$own, defined $length ? ('Content-Length' => $length) : ()], []];
        }
    );
}

# An array of strings, such as names, is not a response, even if they are numbers: a response has an array of headers.
sub is_response {
    my ($class, $value) = @_;
    return !!1 if ref $value eq 'CODE';
    return !!0 if ref $value ne 'ARRAY' || ref $value->[1] ne 'ARRAY';
    return defined $value->[0] && $value->[0] =~ /\A[1-5][0-9][0-9]\z/;
}

# Return a PSGI response: the status, the media type, the body in bytes, and names and values of more headers. It has
# Content-Length, Cache-Control: no-store and X-Content-Type-Options: nosniff.
sub of {
    my ($class, $status, $type, $bytes, @headers) = @_;
    my @own = ('Content-Type' => $type, 'Content-Length' => length $bytes, 'Cache-Control' => 'no-store');
    return [$status, [@own, 'X-Content-Type-Options' => 'nosniff', @headers], [$bytes]];
}

# Return a PSGI response whose body is one line of plain text, in characters and without the line break.
sub text {
    my ($class, $status, $text, @headers) = @_;
    utf8::encode($text);
    return $class->of($status, 'text/plain; charset=UTF-8', "$text\n", @headers);
}

# Return the headers of a response as `completed` makes them.
sub with_cors {
    my ($class, $own, $cors) = @_;
    return [@$own] if Plack::Util::header_exists($own, 'Access-Control-Allow-Origin');
    my @for_page =
        Plack::Util::header_exists($cors, 'Access-Control-Allow-Origin')
        ? qw(Retry-After EventSource-Owner Preference-Applied)
        : ();
    my @exposed = grep { Plack::Util::header_exists($own, $_) } @for_page;
    my @expose  = @exposed ? ('Access-Control-Expose-Headers' => join ', ', @exposed) : ();
    return [@$own, @$cors, @expose];
}

# Private functions

# A copy of a PSGI response that a function makes of its array.
sub _changed {
    my ($response, $change) = @_;
    return $change->($response) if ref $response eq 'ARRAY';
    return sub {
        my $respond = shift;
        return $response->(sub { return $respond->($change->($_[0])) });
    };
}

1;
