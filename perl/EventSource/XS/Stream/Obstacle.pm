package EventSource::XS::Stream::Obstacle;
use strict;
use warnings;

# Why a stream is not native: the reason, and what to do about it.

our $VERSION = '0.100';

use overload
    '""'     => sub { $_[0]{text} },
    'bool'   => sub { 1 },
    fallback => 1;
use Scalar::Util qw(blessed);

# What to do about the reasons that several modules find.
my %REMEDY = (
    encrypted => 'let a proxy terminate TLS',
    filter    =>
        'exclude text/event-stream from the middleware that filters the body, such as Deflater with a content_type,'
        . ' or mount the stream outside of it',
    limit => 'raise the limit of the system that is reached, such as that of descriptors (ulimit -n)',
);

my $OTHERWISE = 'see NATIVE STREAMS in the documentation of Plack::App::EventSource';

sub new {
    my ($class, $code, $text, $remedy) = @_;
    $remedy = exists $REMEDY{$code} ? $REMEDY{$code} : $OTHERWISE if !defined $remedy;
    return bless {code => $code, text => $text, remedy => $remedy}, $class;
}

# Public methods

sub code { return $_[0]{code} }

# A text that ends with an error of the system is about a limit.
sub of {
    my ($class, $obstacle) = @_;
    return $obstacle                       if blessed $obstacle;
    return $class->new(limit => $obstacle) if $obstacle =~ /: ./;
    return $class->new($obstacle, $obstacle);
}

sub remedy { return $_[0]{remedy} }

1;
__END__

=encoding utf8

=head1 NAME

EventSource::XS::Stream::Obstacle - Why a stream is not native

=head1 SYNOPSIS

    use EventSource::XS::Stream::Obstacle;

    my $obstacle = EventSource::XS::Stream::Obstacle->new(encrypted => 'the connection is encrypted');
    print "The stream is not native: $obstacle; ", $obstacle->remedy, "\n";

=head1 DESCRIPTION

The code that finds out that a stream cannot be native (L<EventSource::XS::Adapter/obstacle>,
L<EventSource::XS::Stream::Takeover>) returns an object of this class. As a string it is the reason.

=head1 METHODS

=head2 new

    my $obstacle = EventSource::XS::Stream::Obstacle->new($code, $text);
    my $obstacle = EventSource::XS::Stream::Obstacle->new($code, $text, $remedy);

Create an obstacle. C<$code> is a word for the kind of reason, C<$text> the reason, such as C<the connection is encrypted>,
and C<$remedy> says in the imperative what to do about it. Three codes have a remedy of their own: C<encrypted> (TLS),
C<filter> (a middleware changes the body), C<limit> (the system refuses something). Other codes refer to the documentation by
default.

=head2 code

    my $code = $obstacle->code;

Return the code. A process warns once of each (L<EventSource::XS::Stream::Fallback>).

=head2 of

    my $obstacle = EventSource::XS::Stream::Obstacle->of($reason);

Return an obstacle for a reason that is an obstacle or a string. A string that has an error of the system after a colon
is a C<limit>. Any other string is its own code.

=head2 remedy

    my $remedy = $obstacle->remedy;

Return what to do about it.

=head1 SEE ALSO

L<EventSource::XS::Stream::Fallback>, L<EventSource::XS::Adapter>

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
