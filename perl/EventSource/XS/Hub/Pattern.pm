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

sub new {
    my ($class, $pattern) = @_;
    $SETTINGS->refuse(pattern => 'a pattern must be a string that is not empty')
        if !defined $pattern || ref $pattern || !length $pattern;
    my $text = EventSource::XS::Hub::Name->checked($SETTINGS, pattern => 'a pattern', $pattern);
    return bless \$text, $class;
}

1;
