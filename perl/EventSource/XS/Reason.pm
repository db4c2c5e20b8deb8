package EventSource::XS::Reason;
use strict;
use warnings;

# Texts of others in a message: the reason in the text of an exception, without perl's words for the place, " at FILE line 1.".
# FILE may contain blanks. And what a remote side has sent, which a terminal must not obey.

my $OF_HANDLE = qr/, <[^\n]*> (?:line|chunk) [0-9]+/;

# Passwords in a URL and under their names, in a text that we do not know.
my $PASSWORD =
    qr{://[^\s/:@]*:\K\S*(?=@)|\b\w*(?:password|passwd|pwd|pass|secret)\s*=>?\s*\K(?:'(?:[^'\\]|\\.)*'|[^;\n]+)}i;

# DBI's messages with a DSN: the text before, the DSN, the text after it, and what the driver says. A DSN may have all
# characters.
my $WITH_DSN =
    qr/\A(.*?\bconnect\(')(.*)(','.*?',\.\.\.\) failed: )(.*)\z|\A(.*?\bdata source ')(.*)(' because I can't work out )(.*)\z/s;

# The settings of a DSN whose values may be shown, if they have only the characters of names, paths and addresses. Any other
# setting may be a password, and its name may be misspelt.
my %IS_HARMLESS = map { ($_ => 1) } qw(
    application_name charset connect_timeout database db dbname host hostaddr hostname mariadb_socket mysql_socket port server service
    sid sslmode uri user username
);
my $SETTING = qr/\G((?:'(?:[^'\\]++|\\.)*+(?:'|\z)|[^;']++)*+)(?:;|\z)/s;
my $HOST    = qr/(?:\[[0-9A-Fa-f:.]*\]|[\w.-]*)(?::[0-9]+)?/;
my $URL     = qr{\A(\w+://)(?:(.*)@)?($HOST(?:,$HOST)*(?:/[\w.-]*)?)(\?[^@]*)?\z}s;
my $PATH    = qr{\A((?!.*://)[\w.,:~/-]*)(\?[^@]*)?\z}s;

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

# A driver may repeat parts of the DSN. They are masked unless the masked DSN shows them.
sub without_passwords {
    my ($class, $text) = @_;
    my ($before, $dsn, $after, $said) = grep { defined } $text =~ $WITH_DSN or return $text =~ s/$PASSWORD/.../gr;
    my $shown  = _shown_dsn($dsn);
    my $hidden = $dsn . "\n" . $dsn           =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ger;
    my @words  = map { s/[.:!?]+\z//r } $said =~ /[^\s"'(),;]{3,}/g, $said =~ /\w{3,}/g;
    my @values = $dsn                         =~ /[=:]\s*'?([^;]{3,}?)'?\s*(?:[;@]|\z)/g;
    for my $part (sort { length $b <=> length $a } @words, @values) {
        next if index($hidden, $part) < 0 || index("$shown $after", $part) >= 0 || $IS_HARMLESS{lc $part};
        $said =~ s/(?<!\w)\Q$part\E(?!\w)/.../g;
    }
    return "$before$shown$after" . $said =~ s/$PASSWORD/.../gr;
}

sub without_place {
    my ($class, $exception) = @_;
    return "$exception" =~ s/ at (?:(?! at )[^\n])+ line [0-9]+$OF_HANDLE?[.]?\n?\z//r;
}

# A text without control characters, C0, DEL and C1: a terminal would obey them, and a line break would begin a line of a log.
sub visible {
    my ($class, $text) = @_;
    return $text =~ s/([\x00-\x1F\x7F-\x9F])/sprintf '\\x%02X', ord $1/ger;
}

# Private functions

sub _shown_dsn {
    my @settings = grep { length } $_[0]     =~ /$SETTING/g;
    my $database = @settings && $settings[0] =~ $PATH ? _shown_value(shift @settings) : undef;
    return join ';', grep { defined } $database, map { _shown_setting($_) } @settings;
}

sub _shown_setting {
    my ($name, $value) = $_[0] =~ /\A\s*([A-Za-z_]\w*)\s*=\s*(.*?)\s*\z/s or return '...';
    return "$name=" . (!length $value ? '' : $IS_HARMLESS{lc $name} ? _shown_value($value) : '...');
}

sub _shown_value {
    my $value = shift;
    return $1 . (defined $2 ? '...@' : '') . $3 . (defined $4 ? '?...' : '') if $value =~ $URL;
    return $value =~ $PATH ? $1 . (defined $2 ? '?...' : '') : '...';
}

1;
