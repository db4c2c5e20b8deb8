package EventSource::XS::Hub::Pattern;
use strict;
use warnings;

# A pattern of channels' names. It is an object, so that a name from a request is never taken for a pattern.

our $VERSION = '0.100';

use EventSource::XS::Settings;

our @CARP_NOT = qw(EventSource::Hub);

my $SETTINGS = EventSource::XS::Settings->new('EventSource::Hub');

my $MAX_LENGTH  = 1024;    # bytes in UTF-8
my $MAX_SLASHES = 16;      # between two **, beside a *: the core compares such a part at each segment of a name

sub new {
    my ($class, $pattern) = @_;
    $SETTINGS->refuse(pattern => 'a pattern must be a string that is not empty')
        if !defined $pattern || ref $pattern || !length $pattern;
    utf8::encode(my $bytes = $pattern);
    $SETTINGS->refuse(pattern => "a pattern must have at most $MAX_LENGTH bytes in UTF-8")
        if length $bytes > $MAX_LENGTH;
    my (undef, @parts) = split /[*]{2,}/, $pattern, -1;
    $SETTINGS->refuse(pattern => "a pattern must have at most $MAX_SLASHES slashes between two ** if a * is among them")
        if grep { /[*]/ && tr{/}{} > $MAX_SLASHES } @parts[0 .. $#parts - 1];
    return bless \"$pattern", $class;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::XS::Hub::Pattern - A pattern of channels' names

=head1 SYNOPSIS

    use EventSource::Hub;

    my $pattern = EventSource::Hub->pattern('news/*');

=head1 DESCRIPTION

A pattern stands for all channels whose names match it. C<*> matches any characters but C</>, C<**> matches any
characters, and all other characters match themselves. Only L<EventSource::Hub/pattern> creates patterns, so a name that
comes from a request is never a pattern.

=head1 METHODS

=head2 new

    my $pattern = EventSource::XS::Hub::Pattern->new('news/*');

Create a pattern. Throws an L<EventSource::Error> with the code C<invalid> unless the argument is a string that is not
empty, of at most 1,024 bytes in UTF-8. The part between two C<**> may have at most 16 slashes if it has a C<*>, too.

=head1 SEE ALSO

L<EventSource::Hub>

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
