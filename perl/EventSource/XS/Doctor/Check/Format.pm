package EventSource::XS::Doctor::Check::Format;
use strict;
use warnings;

# Looks whether the bytes of the stream are what the standard describes (WHATWG HTML, section 9.2.5).

use EventSource::XS::Doctor::Finding qw(finding named ok);

# The verdict and the check of each mistake, what finds it in a body, the sentence about what was found, and the remedy.
my @MISTAKES = (
    [
        wrong => 'utf8',
        sub {
            $_[0]{invalid} && join ' ', map { sprintf '%02x', ord } split //, substr $_[0]{invalid}, 0, 8;
        },
        'The stream has bytes that are not UTF-8: %s. Clients show a replacement character.',
        'Encode all text as UTF-8.'
    ],
    [
        wrong => 'encoded_twice',
        sub { $_[0]{doubled} },
        'The text looks as if it was encoded in UTF-8 twice: %s',
        'Encode text once: see "MOJIBAKE" in EventSource::Troubleshooting.'
    ],
    [
        warning => 'line_ends',
        sub { (_line_ends($_[0]) =~ /(.+ .+)/)[0] },
        'The lines end in different ways (%s); some clients take only the first that they see.',
        'End all lines of a stream with LF, or all with CRLF.'
    ],
    [
        warning => 'line_ends',
        sub { _line_ends($_[0]) eq 'CR' || undef },
        'The lines end with a lone CR, which many clients do not know.',
        'End lines with LF or CRLF.'
    ],
    [
        warning => 'bom',
        sub { $_[0]{has_bom} || undef },
        'The stream begins with a byte order mark. Browsers skip it; other clients take it for a part of the first field.',
        'Do not send a byte order mark.'
    ],
    [
        wrong => 'bad_retry',
        sub { $_[0]{bad_retry} },
        q{The reconnection time '%s' is not a whole number, so clients ignore it.},
        'Write retry in milliseconds, with digits only.'
    ],
    [wrong => 'nul', sub { $_[0]{has_nul_id} }, 'An id has a NUL, so clients ignore it.', 'Send ids without NUL.'],
    [
        wrong => 'unfinished',
        sub { $_[0]->is_in_block || undef },
        'The last event of the stream has no blank line at its end, so a client never dispatches it.',
        'End each event with a blank line, and write it as a whole.'
    ],
    [
        warning => 'no_data',
        sub { $_[0]{nameless} },
        '%s events have a type and no data, so a browser does not dispatch them.',
        'Give each event data, such as {}.'
    ],
);

# Public methods

sub findings {
    my ($class, $seen) = @_;
    return if !$seen->is_streaming || !$seen->{stream}->body->{bytes};
    my $body     = $seen->{stream}->body;
    my @findings = named(fields => _fields($body));
    for my $mistake (@MISTAKES) {
        my ($verdict, $check, $find, $sentence, $remedy) = @$mistake;
        my $found = $find->($body) // next;
        push @findings, finding($verdict, $sentence =~ s/%s/$found/r, $remedy, check => $check);
    }
    return @findings if @findings;
    return ok('The stream had comments only; its format could not be judged.')
        if @{$body->{comments}} && !@{$body->{blocks}};
    return ok('Line ends, fields and encoding of the stream are right.');
}

# Private functions

sub _fields {
    my $body     = shift;
    my @names    = sort keys %{$body->{unknown}} or return;
    my ($spaced) = grep { /\A\s|\s\z/ } @names;
    my ($cased)  = grep { lc =~ /\A(?:data|event|id|retry)\z/ } @names;
    my $html     = grep { /</ } @names;
    my $why =
          defined $spaced ? "The field '$spaced' has a space in its name"
        : defined $cased  ? "The field '$cased' is not written in lower case"
        : $html           ? 'The body looks like a page'
        :                   "The stream has the unknown field '" . substr($names[0], 0, 40) . "'";
    return finding(
        defined $spaced || defined $cased || $html ? 'wrong' : 'warning',
        "$why, so clients ignore the line.",
        'Begin each line with data:, event:, id:, retry: or a colon; data of several lines needs data: before each.'
    );
}

sub _line_ends { return join ' ', sort keys %{$_[0]{line_ends}} }

1;
