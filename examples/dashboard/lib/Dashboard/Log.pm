package Dashboard::Log;
use strict;
use warnings;

# A log that all processes of the server write to and read: lines of UTF-8, numbered from 1 on. The number of a line is
# its event's id, so that a browser that comes back is sent what it has missed, by whichever process it reaches.

use Encode qw(encode);
use POSIX  qw(strftime);

sub new {
    my ($class, $path) = @_;
    open my $file, '>>', $path or die "$path: $!\n";
    return bless {path => $path, lines => [], part => ''}, $class;
}

# Public methods

# Writes one line, whatever characters the text is made of.
sub append {
    my ($self, $text) = @_;
    $text =~ s/[\s\p{Cc}]+/ /g;
    $text =~ s/\A | \z//g;
    open my $file, '>>', $self->{path} or die "$self->{path}: $!\n";
    syswrite $file, encode('UTF-8', strftime('%H:%M:%S ', localtime) . "$text\n");    # at once, so whole
    return;
}

# Where a reader goes on: behind the line that was its last, or before the last few if there is no such line.
sub place_after {
    my ($self, $last, $few) = @_;
    my $count = $self->_read_on;
    return $last if defined $last && $last =~ /\A[0-9]{1,9}\z/ && $last <= $count;
    return $count > $few ? $count - $few : 0;
}

# What stands behind a line: [number, line], ...
sub lines_after {
    my ($self, $number) = @_;
    return map { [$_, $self->{lines}[$_ - 1]] } $number + 1 .. $self->_read_on;
}

# Private methods

# Reads what has been written since the last time, by anyone; how many lines there are. Opened by whoever reads first,
# which is a worker: one that it shared with others would be read by all of them together.
sub _read_on {
    my $self = shift;
    my $file = $self->{file};
    if (!$file) {
        open $file, '<', $self->{path} or die "$self->{path}: $!\n";
        $self->{file} = $file;
    }
    seek $file, 0, 1;    # the end of the file has moved
    while (defined(my $piece = readline $file)) {
        $self->{part} .= $piece;
        next if $self->{part} !~ s/\n\z//;
        push @{$self->{lines}}, $self->{part};
        $self->{part} = '';
    }
    return scalar @{$self->{lines}};
}

1;
