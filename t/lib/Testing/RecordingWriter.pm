package Testing::RecordingWriter;
use strict;
use warnings;

# A PSGI writer that records what is written to it. With `takes` it accepts that many writes and then dies with `dies_of`,
# as a server's writer does when the client leaves during a write.
#
#   my $writer = Testing::RecordingWriter->new(takes => 1, dies_of => "timeout\n");

sub new {
    my ($class, %option) = @_;
    return bless {kept => '', closed => 0, dies_of => "no client\n", %option}, $class;
}

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
