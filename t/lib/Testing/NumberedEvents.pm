package Testing::NumberedEvents;
use strict;
use warnings;

# Events with a number as their id, and data that is derived from the number: a test sees which events have arrived, and
# whether they are whole.
#
#   $conn->push(numbered(7, 1_000));
#   is_deeply [numbers($client->text)], [7];

use Carp     qw(croak);
use Exporter qw(import);

our @EXPORT_OK = qw(numbered numbers);

# Returns the event with that number and that many bytes of data.
sub numbered {
    my ($number, $bytes) = @_;
    return {id => $number, data => _data($number, $bytes)};
}

# Returns the numbers of the events in a text; dies if the text has anything else but comments.
sub numbers {
    my $text = shift;
    my @numbers;
    while ($text =~ /\G(?::[^\r\n]*\r\n|(?:id: ([0-9]+)\r\ndata: ([^\r\n]*)\r\n)?\r\n)/gc) {
        next                                          if !defined $1;
        croak "NumberedEvents: event $1 is not whole" if $2 ne _data($1, length $2);
        push @numbers, $1;
    }
    my $at = pos $text || 0;
    croak 'NumberedEvents: this is not an event: ' . substr $text, $at, 80 if $at < length $text;
    return @numbers;
}

sub _data {
    my ($number, $bytes) = @_;
    my $word = "$number.";
    return substr $word x (1 + $bytes / length $word), 0, $bytes;
}

1;
