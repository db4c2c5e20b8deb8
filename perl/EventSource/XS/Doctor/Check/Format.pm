package EventSource::XS::Doctor::Check::Format;
use strict;
use warnings;

# Whether the bytes of the stream are what the standard describes (WHATWG HTML, section 9.2.5).

use EventSource::XS::Doctor::Finding qw(finding ok warning wrong);

# Public methods

sub findings {
    my ($class, $seen) = @_;
    return if !$seen->is_streaming || !$seen->{stream}->body->{bytes};
    my $stream   = $seen->{stream};
    my $body     = $stream->body;
    my @findings = (_text($body), _lines($body), _fields($body), _blocks($stream, $body));
    return @findings if @findings;
    return ok('format', 'Line ends, fields and encoding of the stream are right.');
}

# Private functions

sub _blocks {
    my ($stream, $body) = @_;
    my @findings;
    if ($body->is_in_block) {
        push @findings,
            wrong(
            'unfinished',
            'The last event of the stream has no blank line at its end, so a client never dispatches it.',
            remedy => 'End each event with a blank line, and write it as a whole.'
            );
    }
    elsif (@{$body->{comments}} && !@{$body->{blocks}}) {
        push @findings, ok('format', 'The stream had comments only; its format could not be judged.');
    }
    if ($body->{nameless}) {
        push @findings,
            warning(
            'no_data',
            "$body->{nameless} events have a type and no data, so a browser does not dispatch them.",
            remedy => 'Give each event data, such as {}.'
            );
    }
    return @findings;
}

sub _fields {
    my $body = shift;
    my @findings;
    if (my @names = sort keys %{$body->{unknown}}) {
        my ($spaced) = grep { /\A\s|\s\z/ } @names;
        my ($cased)  = grep { lc =~ /\A(?:data|event|id|retry)\z/ } @names;
        my $html     = grep { /</ } @names;
        my $why =
              defined $spaced ? "The field '$spaced' has a space in its name"
            : defined $cased  ? "The field '$cased' is not written in lower case"
            : $html           ? 'The body looks like a page'
            :                   "The stream has the unknown field '" . substr($names[0], 0, 40) . "'";
        my $verdict = defined $spaced || defined $cased || $html ? 'wrong' : 'warning';
        push @findings,
            finding($verdict, 'fields', "$why, so clients ignore the line.",
            remedy =>
                'Begin each line with data:, event:, id:, retry: or a colon; data of several lines needs data: before each.'
            );
    }
    push @findings,
        wrong(
        'bad_retry',
        "The reconnection time '$body->{bad_retry}[0]' is not a whole number, so clients ignore it.",
        remedy => 'Write retry in milliseconds, with digits only.'
        ) if @{$body->{bad_retry}};
    push @findings, wrong('nul', 'An id has a NUL, so clients ignore it.', remedy => 'Send ids without NUL.')
        if $body->{has_nul_id};
    return @findings;
}

sub _lines {
    my $body = shift;
    my @ends = sort keys %{$body->{line_ends}};
    my @findings;
    push @findings,
        warning(
        'line_ends',
        "The lines end in different ways (@ends); some clients take only the first that they see.",
        remedy => 'End all lines of a stream with LF, or all with CRLF.'
        ) if @ends > 1;
    push @findings,
        warning(
        'line_ends',
        'The lines end with a lone CR, which many clients do not know.',
        remedy => 'End lines with LF or CRLF.'
        ) if @ends == 1 && $ends[0] eq 'CR';
    push @findings,
        warning(
        'bom',
        'The stream begins with a byte order mark. Browsers skip it; other clients take it for a part of the first field.',
        remedy => 'Do not send a byte order mark.'
        ) if $body->{has_bom};
    return @findings;
}

sub _text {
    my $body = shift;
    my @findings;
    push @findings,
        wrong(
        'utf8',
        'The stream has bytes that are not UTF-8: '
            . join(' ', map { sprintf '%02x', ord } split //, substr $body->{invalid}, 0, 8)
            . '. Clients show a replacement character.',
        remedy => 'Encode all text as UTF-8.'
        ) if defined $body->{invalid};
    push @findings,
        wrong(
        'encoded_twice',
        "The text looks as if it was encoded in UTF-8 twice: $body->{doubled}",
        remedy => 'Encode text once: see "MOJIBAKE" in EventSource::Troubleshooting.'
        ) if defined $body->{doubled};
    return @findings;
}

1;
