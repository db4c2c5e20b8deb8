package Dashboard::Log;
use strict;
use warnings;

# A log that all processes of the server write to and read: lines of UTF-8, numbered from 1 on. The number of a line is
# its event's id, so that a browser that comes back is sent what it has missed, by whichever process it reaches.

use Encode qw(encode);
use POSIX  qw(strftime);

sub new {
    my ($class, $path) = @_;
    my $self = bless {path => $path}, $class;
    open my $file, '>>', $path or die "$path: $!\n";
    return $self;
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

# Lines from here on: all after this number, or the last few if there is no such line.
sub follow {
    my ($self, $after, $few) = @_;
    open my $file, '<', $self->{path} or die "$self->{path}: $!\n";
    my $lines = bless {file => $file, number => 0, part => ''}, 'Dashboard::Log::Lines';
    my @all   = $lines->next_lines;
    my $known = defined $after && $after =~ /\A[0-9]{1,9}\z/ && $after <= @all;
    my $from  = $known ? $after : @all > $few ? @all - $few : 0;
    $lines->{waiting} = [@all[$from .. $#all]];
    return $lines;
}

package Dashboard::Log::Lines;

# What has been written since the last call: [number, line], ...
sub next_lines {
    my $self  = shift;
    my @lines = @{delete $self->{waiting} || []};
    seek $self->{file}, 0, 1;    # the end of the file has moved
    while (defined(my $line = readline $self->{file})) {
        $self->{part} .= $line;
        next if $self->{part} !~ s/\n\z//;
        push @lines, [++$self->{number}, $self->{part}];
        $self->{part} = '';
    }
    return @lines;
}

1;
