package EventSource::XS::Hub::Log;
use strict;
use warnings;

# The last lines of the log of a hub process, which it keeps in a file beside its socket: they are there without the process,
# too. Each line is the time in seconds since 1970, a tab, and the message in UTF-8.

# As eventsource-hub keeps them; the file may have more.
my $MOST_LINES = 200;

# Public methods

# The lines of the newest of some files, as hashes with time and message. Nothing if there is no file.
sub lines_of {
    my ($class, @files) = @_;
    my %changed = map { my @found = stat; @found ? ($_ => $found[9]) : () } @files;
    my ($newest) = sort { $changed{$b} <=> $changed{$a} } keys %changed;
    return undef if !defined $newest;
    open my $from, '<:raw', $newest or return undef;
    my @lines = grep { defined } map { _line($_) } readline $from;
    splice @lines, 0, -$MOST_LINES if @lines > $MOST_LINES;
    return \@lines;
}

# Private functions

# A line that is cut, because the disk was full, is none.
sub _line {
    my ($time, $message) = $_[0] =~ /\A([0-9]+[.][0-9]+)\t(.*)\n\z/ or return undef;
    utf8::decode($message);
    return {time => $time + 0, message => $message};
}

1;
