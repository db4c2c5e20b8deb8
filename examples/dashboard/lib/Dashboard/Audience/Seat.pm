package Dashboard::Audience::Seat;
use strict;
use warnings;

# A viewer's place: counted from when it is made until it is gone, in the process that made it.

sub new {
    my ($class, $file) = @_;
    open my $seat, '>', $file or die "$file: $!\n";
    return bless {file => $file, pid => $$}, $class;
}

sub DESTROY {
    my $self = shift;
    unlink $self->{file} if $self->{pid} == $$;
    return;
}

1;
