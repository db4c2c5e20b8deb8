package EventSource::XS::Reason;
use strict;
use warnings;

# Texts of others in a message: the reason in the text of an exception, without perl's words for the place, " at FILE line 1.".
# FILE may contain blanks. And what a remote side has sent, which a terminal must not obey.

my $OF_HANDLE = qr/, <[^\n]*> (?:line|chunk) [0-9]+/;

# The password in a URL, and that in the DSN of a message of DBI, which ends there with the next setting or DBI's next argument.
my $PASSWORD =
    qr{://[^\s/:@]*:\K[^\s/]*(?=@)|\b(?:(?:ssl)?password|passwd|pwd|pass)\s*=\s*\K(?!',')(?:'(?:[^'\\]|\\.)*'|(?:(?!',')[^;\n])+)}i;

use Scalar::Util qw(blessed);

# Public methods

# One line for a person, of an exception of ours or of others: without the name of our package and the line of the program.
sub message_of {
    my ($class, $error) = @_;
    my $text = blessed $error && $error->isa('EventSource::Error') ? $error->message : "$error";
    $text =~ s/\AEventSource::[A-Za-z:]+: //;
    return $class->of($text) =~ s/\s+\z//r;
}

# The reason in characters, without passwords. Drivers of databases and the system give bytes of UTF-8, too.
sub of {
    my ($class, $exception) = @_;
    my $text = $class->without_place($exception);
    utf8::decode($text) if !utf8::is_utf8($text);
    return $class->without_passwords($text);
}

sub without_passwords { return $_[1] =~ s/$PASSWORD/.../gr }

sub without_place {
    my ($class, $exception) = @_;
    return "$exception" =~ s/ at (?:(?! at )[^\n])+ line [0-9]+$OF_HANDLE?[.]?\n?\z//r;
}

# A text without control characters, C0, DEL and C1: a terminal would obey them, and a line break would begin a line of a log.
sub visible {
    my ($class, $text) = @_;
    return $text =~ s/([\x00-\x1F\x7F-\x9F])/sprintf '\\x%02X', ord $1/ger;
}

1;
