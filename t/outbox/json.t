# JSON of a row: what has the grammar of RFC 8259 is published as it is, and nothing else.

use lib 't/lib';
use Testing;
use EventSource::XS::JSONText;
use JSON::PP ();

my @TOKENS = (
    qw({ } [ ] : 0 -0 01 1.5e+3 1. .5 +1 1e true nul " "" "a" "\u12aB" "\/\n" "\x" {"k":1} [] {}),
    ',', "\t", "\n", "\0", "\"\n\"", "\"\xC3\xA9\"", "\xC3\xA9", "\xC2\xA0"
);
my $DEEP = 100_000;
my %JSON = (
    'deep'                  => ('[' x $DEEP) . (']' x $DEEP),
    'half of a pair'        => '{"text":"cut \ud83d"}',
    'keys that come twice'  => '{"a":1,"a":2}',
    'many escapes'          => '"' . '\n' x 70_000 . '"',
    'many members'          => '[' . join(',', (1) x 70_000) . ']',
    'numbers beyond Perl'   => '[1e400,12345678901234567890123,1234567890123456.78]',
    'space of all kinds'    => " { \"a\"\t:\r\n[ ] , \"b\" : { } } ",
    'a string of any bytes' => "\"\xFF\x7F\"",
);
my %MISTAKE = (
    ''         => 0,
    '{"a":}'   => 5,
    '[1,]'     => 3,
    '{"a":01}' => 6,
    '[1 2]'    => 3,
    '{"a"}'    => 4,
    '[}'       => 1,
    '"a'       => 2,
    '1 x'      => 2
);

sub mistake_at { return EventSource::XS::JSONText->mistake_at($_[0]) }

is mistake_at($JSON{$_}), undef,        "JSON: $_"       for sort keys %JSON;
is mistake_at($_),        $MISTAKE{$_}, "not JSON: '$_'" for sort keys %MISTAKE;

is_deeply(
    EventSource::XS::JSONText->with_texts(
        '{"data":1,"data":"x","retry":"a","retry":1e3}', {data => 'x', retry => 1000}
    ),
    {data => 'x', retry => '1e3'},
    'a field that comes twice has its last value'
);

# JSON::PP is the twin: it takes these tokens by the same grammar. Their bytes are characters for it, or it would take some
# with NULs as UTF-16.
my $twin = JSON::PP->new->allow_nonref;
my $seed = srand;
my @different;
for (1 .. 20_000) {
    my $text    = join '', map { $TOKENS[rand @TOKENS] } 0 .. rand 7;
    my $is_json = eval { $twin->decode($text); 1 };
    push @different, $text if !$is_json ne defined mistake_at($text);
}
is_deeply \@different, [], 'random texts are JSON where JSON::PP says so' or diag "seed $seed";

done_testing;
