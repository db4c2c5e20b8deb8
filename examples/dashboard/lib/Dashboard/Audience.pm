package Dashboard::Audience;
use strict;
use warnings;

# Who is watching, over all processes of the server: a file for each open stream, in a folder that they share. A process
# that died has left, so a file counts as long as its process runs.

use Dashboard::Audience::Seat;

my $JOINED = 0;

sub new {
    my ($class, $folder) = @_;
    mkdir $folder or -d $folder or die "$folder: $!\n";
    return bless {folder => $folder}, $class;
}

# Public methods

sub count {
    my $self  = shift;
    my $count = 0;
    for my $file (glob "$self->{folder}/*") {
        my ($pid) = $file =~ m{/([0-9]+)-[0-9]+\z} or next;
        if   (kill 0, $pid) { $count++ }
        else                { unlink $file }
    }
    return $count;
}

# Counts until what it returns is gone.
sub join {
    my $self = shift;
    return Dashboard::Audience::Seat->new("$self->{folder}/$$-" . $JOINED++);
}

1;
