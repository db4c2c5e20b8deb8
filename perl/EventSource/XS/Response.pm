package EventSource::XS::Response;
use strict;
use warnings;

# Ordinary responses of this distribution's applications, and changes of any PSGI response.

# Public methods

# Return a copy of a PSGI response, an array or a code reference, with changes. The response itself stays as it is: the
# application may return it again. cors is a reference to an array of the names and values of headers, which follow those of
# the response. They are left out if the response has Access-Control-Allow-Origin already: then the application decides.
sub completed {
    my ($class, $response, %option) = @_;
    return _completed($response, %option) if ref $response eq 'ARRAY';
    return sub {
        my $respond = shift;
        return $response->(sub { return $respond->(_completed($_[0], %option)) });
    };
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

# Private functions

sub _completed {
    my ($response, %option) = @_;
    my ($status, $own, @body) = @$response;
    my @more = _has_origin($own) ? () : @{$option{cors} || []};
    return [$status, [@$own, @more], $option{without_body} && @body ? [] : @body];
}

# True if the response says itself which origins may read it.
sub _has_origin {
    my $headers = shift;
    return scalar grep { !($_ % 2) && lc $headers->[$_] eq 'access-control-allow-origin' } 0 .. $#$headers;
}

1;
