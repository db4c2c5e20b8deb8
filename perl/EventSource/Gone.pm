package EventSource::Gone;
use strict;
use warnings;

# What a push dies with to end a handler whose client has left, where the application has asked for that.

our $VERSION = '0.100';

use overload '""' => sub { 'EventSource: the client has left' }, fallback => 1;

sub new { return bless {}, shift }

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Gone - What ends a handler whose client has left

=head1 SYNOPSIS

    use EventSource::Gone;

    my $finished = eval { die EventSource::Gone->new; 1 };
    print "the client has left\n" if ref $@ && $@->isa('EventSource::Gone');

=head1 DESCRIPTION

With C<< on_gone => 'unwind' >> (L<Plack::App::EventSource/on_gone>) a push to a client that has left dies with an
object of this class, and the application's C<call> catches it. A handler that wants to clean up may catch it on the
way.

=head1 METHODS

=head2 new

    my $gone = EventSource::Gone->new;

An exception; as a string it says that the client has left.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
