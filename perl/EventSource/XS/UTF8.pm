package EventSource::XS::UTF8;
use strict;
use warnings;

# Perl's own check of UTF-8 lets surrogates and numbers above U+10FFFF pass.

my $UNFIT = qr/[^\x{0}-\x{D7FF}\x{E000}-\x{10FFFF}]/;

# Bytes in UTF-8 as characters; undef if they are not valid UTF-8.
sub decode {
    my ($class, $text) = @_;
    return utf8::decode($text) && $class->is_fit($text) ? $text : undef;
}

# True if characters are Unicode.
sub is_fit { return $_[1] !~ $UNFIT }

# Characters, with U+FFFD in place of those that are not Unicode, as format_event does.
sub repaired { return $_[1] =~ s/$UNFIT/\x{FFFD}/gr }

1;
