package EventSource::XS::Reason;
use strict;
use warnings;

# The reason in the text of an exception, without perl's words for the place, " at FILE line 1.". FILE may contain blanks.

my $OF_HANDLE = qr/, <[^\n]*> (?:line|chunk) [0-9]+/;

# Public methods

sub of {
    my ($class, $exception) = @_;
    return "$exception" =~ s/ at (?:(?! at )[^\n])+ line [0-9]+$OF_HANDLE?[.]?\n?\z//r;
}

1;
