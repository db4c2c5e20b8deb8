package EventSource::XS::Hub::Pattern;
use strict;
use warnings;

# A pattern of channels' names. It is an object, so that a name from a request is never taken for a pattern.
#
# "pattern" in EventSource::Hub has the manual.

use EventSource::XS::Hub::Name;
use EventSource::XS::Settings;

our @CARP_NOT = qw(EventSource::Hub);

my $SETTINGS = EventSource::XS::Settings->new('EventSource::Hub');

my $MAX_SLASHES = 16;    # between two **, beside a *: the core compares such a part at each segment of a name

sub new {
    my ($class, $pattern) = @_;
    $SETTINGS->refuse(pattern => 'a pattern must be a string that is not empty')
        if !defined $pattern || ref $pattern || !length $pattern;
    my $problem = EventSource::XS::Hub::Name->problem($pattern);
    $SETTINGS->refuse(pattern => "a pattern $problem") if defined $problem;
    my (undef, @parts) = split /[*]{2,}/, $pattern, -1;
    $SETTINGS->refuse(pattern => "a pattern must have at most $MAX_SLASHES slashes between two ** if a * is among them")
        if grep { /[*]/ && tr{/}{} > $MAX_SLASHES } @parts[0 .. $#parts - 1];
    return bless \"$pattern", $class;
}

1;
