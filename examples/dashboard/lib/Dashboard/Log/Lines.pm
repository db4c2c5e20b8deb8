package Dashboard::Log::Lines;
use strict;
use warnings;

# The lines of a log, from its beginning to its end and on, as it grows.

sub new {
    my ($class, $path) = @_;
    open my $file, '<', $path or die "$path: $!\n";
    return bless {file => $file, number => 0, part => '', waiting => []}, $class;
}

# Public methods

# What has been written since the last call: [number, line], ...
sub next_lines {
    my $self  = shift;
    my @lines = splice @{$self->{waiting}};
    seek $self->{file}, 0, 1;    # the end of the file has moved
    while (defined(my $line = readline $self->{file})) {
        $self->{part} .= $line;
        next if $self->{part} !~ s/\n\z//;
        push @lines, [++$self->{number}, $self->{part}];
        $self->{part} = '';
    }
    return @lines;
}

# Lines that the next call returns first.
sub put_back {
    my ($self, @lines) = @_;
    push @{$self->{waiting}}, @lines;
    return;
}

1;
