package Dashboard::Log;
use strict;
use warnings;

# A log that all processes of the server write to and read: lines of UTF-8, numbered from 1 on. The number of a line is
# its event's id, so that a browser that comes back is sent what it has missed, by whichever process it reaches.

use Dashboard::Log::Lines;
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
    my $lines = Dashboard::Log::Lines->new($self->{path});
    my @all   = $lines->next_lines;
    my $known = defined $after && $after =~ /\A[0-9]{1,9}\z/ && $after <= @all;
    my $from  = $known ? $after : @all > $few ? @all - $few : 0;
    $lines->put_back(@all[$from .. $#all]);
    return $lines;
}

1;
