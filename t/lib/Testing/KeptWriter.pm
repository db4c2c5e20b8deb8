package Testing::KeptWriter;
use strict;
use warnings;

# A PSGI server's writer that keeps what it is given. With `takes` it takes so many writes and then dies, as a server's
# does when the client leaves at that very moment; `dies_of` is what it dies of.
#
#   my $writer = Testing::KeptWriter->new(takes => 1, dies_of => "timeout\n");

sub new {
    my ($class, %option) = @_;
    return bless {kept => '', closed => 0, dies_of => "no client\n", %option}, $class;
}

# Public methods

sub close { $_[0]{closed}++; return }

sub kept { return $_[0]{kept} }

sub times_closed { return $_[0]{closed} }

sub write {
    my ($self, $bytes) = @_;
    die $self->{dies_of} if defined $self->{takes} && $self->{takes}-- <= 0;
    $self->{kept} .= $bytes;
    return;
}

1;
