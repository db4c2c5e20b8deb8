package EventSource::Gone;
use strict;
use warnings;

# The exception of a push to a client that has disconnected, with on_gone => 'unwind'. It ends the handler; it is not an
# error.

our $VERSION = '0.100';

use overload '""' => sub { 'EventSource: the client has disconnected' }, fallback => 1;

sub new { return bless {}, shift }

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Gone - The exception that ends the handler of a client that has disconnected

=head1 SYNOPSIS

    use EventSource::Gone;

    my $finished = eval { die EventSource::Gone->new; 1 };
    print "the client has disconnected\n" if ref $@ && $@->isa('EventSource::Gone');

=head1 DESCRIPTION

A push throws it if L<Plack::App::EventSource/on_gone> is set, and when its worker is to end
(L<Plack::App::EventSource/HANDLERS THAT LOOP>). L<Plack::App::EventSource> catches it. A handler may catch it to clean up, and
should rethrow it.

=head1 METHODS

=head2 new

    my $gone = EventSource::Gone->new;

Create an exception. As a string it is C<EventSource: the client has disconnected>.

=cut
