package DyingWriter;
use strict;
use warnings;

# A writer that takes so many writes and then dies, as a server's does when the client leaves at that very moment.

sub new {
    my ($class, $takes) = @_;
    return bless {takes => $takes, closed => 0}, $class;
}

# Public methods

sub close {
    my $self = shift;
    $self->{closed}++;
    return;
}

sub closed { return $_[0]{closed} }

sub write {
    my $self = shift;
    die "no client\n" if $self->{takes}-- <= 0;
    return;
}

1;
