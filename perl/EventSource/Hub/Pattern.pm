package EventSource::Hub::Pattern;
use strict;
use warnings;

# A pattern of channels' names, as EventSource::Hub->pattern makes it: a name itself never is one.

our $VERSION = '0.100';

use Carp qw(croak);

our @CARP_NOT = qw(EventSource::Hub);

sub new {
    my ($class, $pattern) = @_;
    croak 'EventSource::Hub: a pattern must be a string that is not empty'
        if !defined $pattern || ref $pattern || !length $pattern;
    my $utf8 = $pattern;
    utf8::encode($utf8);
    croak 'EventSource::Hub: a pattern must have at most 1024 bytes in UTF-8' if length $utf8 > 1024;
    return bless \"$pattern", $class;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Hub::Pattern - A pattern of channels' names

=head1 SYNOPSIS

    use EventSource::Hub;

    my $pattern = EventSource::Hub->pattern('news/*');

=head1 DESCRIPTION

What stands for all channels whose names match: C<*> for any characters but C</>, C<**> for any characters at all, all
else for itself. Nothing but L<EventSource::Hub/pattern> makes one, so that a name which came from a request never is one.

=head1 METHODS

=head2 new

    my $pattern = EventSource::Hub::Pattern->new('news/*');

Croaks unless it is given a string that is not empty, of at most 1,024 bytes in UTF-8.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
