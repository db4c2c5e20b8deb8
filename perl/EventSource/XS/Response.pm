package EventSource::XS::Response;
use strict;
use warnings;

# Ordinary responses of this distribution's applications, and changes of any PSGI response.

our $VERSION = '0.100';

# Public methods

sub completed {
    my ($class, $response, %option) = @_;
    return _completed($response, %option) if ref $response eq 'ARRAY';
    return sub {
        my $respond = shift;
        return $response->(sub { return $respond->(_completed($_[0], %option)) });
    };
}

# An array of strings, such as names, is no response, even if they are numbers: a response has an array of headers.
sub is_response {
    my ($class, $value) = @_;
    return !!1 if ref $value eq 'CODE';
    return !!0 if ref $value ne 'ARRAY' || ref $value->[1] ne 'ARRAY';
    return defined $value->[0] && $value->[0] =~ /\A[1-5][0-9][0-9]\z/;
}

sub of {
    my ($class, $status, $type, $bytes, @headers) = @_;
    my @own = ('Content-Type' => $type, 'Content-Length' => length $bytes, 'Cache-Control' => 'no-store');
    return [$status, [@own, 'X-Content-Type-Options' => 'nosniff', @headers], [$bytes]];
}

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
__END__

=encoding utf8

=head1 NAME

EventSource::XS::Response - The responses of an application that are no streams

=head1 SYNOPSIS

    use EventSource::XS::Response;

    my $app = sub {
        my $env      = shift;
        my $response = EventSource::XS::Response->of(200, 'text/event-stream', "data: hello\n\n");
        return EventSource::XS::Response->completed($response, cors => ['Access-Control-Allow-Origin' => '*']);
    };

=head1 DESCRIPTION

The applications of this distribution share these methods for errors and for headers that a response receives later.

=head1 METHODS

=head2 completed

    my $more = EventSource::XS::Response->completed($response, cors => \@headers);
    my $more = EventSource::XS::Response->completed($response, cors => \@headers, without_body => 1);

Return a copy of a PSGI response, an array or a code reference, with changes. The response itself stays as it is: the
application may return it again.

C<cors> is a reference to an array of the names and values of headers, which follow those of the response. They are
left out if the response has C<Access-Control-Allow-Origin> already: then the application decides. With
C<without_body> the body is empty, as a HEAD needs it.

=head2 is_response

    my $is_response = EventSource::XS::Response->is_response($value);

Return true if a value that code of the application has returned is a PSGI response: a code reference, or a reference to
an array that begins with a status and a reference to an array of headers.

=head2 of

    my $response = EventSource::XS::Response->of(200, 'application/json', $bytes, @headers);

Return a PSGI response: the status, the media type, the body in bytes, and names and values of more headers. It has
C<Content-Length>, C<Cache-Control: no-store> and C<X-Content-Type-Options: nosniff>.

=head2 text

    my $response = EventSource::XS::Response->text(404, 'Not found', @headers);

Return a PSGI response whose body is one line of plain text, in characters and without the line break.

=head1 SEE ALSO

L<EventSource::XS::Origins>, L<Plack::App::EventSource>, L<Plack::App::EventSource::PubSub>

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
