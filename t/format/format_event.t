# format_event: every field, every form of the arguments, and the refused values.

use lib 't/lib';
use Testing;
use EventSource::XS         qw(format_event);
use JSON::MaybeXS           qw(decode_json);
use Math::BigFloat          ();
use Math::BigInt            ();
use Testing::PlainFormatter qw(plain_format_event);

{

    package Overloads;
    use overload '""' => sub { ${$_[0]} }, fallback => 1;
    sub new { my ($class, $value) = @_; return bless \$value, $class }
}
{

    package ToJSON;
    sub new     { my ($class, $value) = @_; return bless \$value, $class }
    sub TO_JSON { return ${$_[0]} }
}

my $INFINITE = 9**9**9;

my @BLOCKS = (
    ['data'                      => [data => 'foo'],         "data: foo\n\n"],
    ['no data is not empty data' => [data => ''],            "data: \n\n"],
    ['zero'                      => [data => 0],             "data: 0\n\n"],
    ['numbers' => [data => [-1, 18446744073709551615, 1.5]], "data: -1\ndata: 18446744073709551615\ndata: 1.5\n\n"],
    ['the smallest integer'    => [data => -9223372036854775807 - 1], "data: -9223372036854775808\n\n"],
    ['lines'                   => [data => "a\nb\r\nc\rd"],           "data: a\ndata: b\ndata: c\ndata: d\n\n"],
    ['lines that are empty'    => [data => "\na\n"],                  "data: \ndata: a\ndata: \n\n"],
    ['an array'                => [data => ['a', "b\nc", '']],        "data: a\ndata: b\ndata: c\ndata: \n\n"],
    ['a long array'            => [data => [1 .. 40]],                join('', map { "data: $_\n" } 1 .. 40) . "\n"],
    ['a long text'             => [data => "long\n" x 20_000],        "data: long\n" x 20_000 . "data: \n\n"],
    ['characters are encoded'  => [data => "é☺😀"],                    "data: \xC3\xA9\xE2\x98\xBA\xF0\x9F\x98\x80\n\n"],
    ['Latin-1 is encoded'      => [data => "\xE9"],                   "data: \xC3\xA9\n\n"],
    ['surrogates are replaced' => [data => "a\x{D800}b\x{110000}"],   "data: a\xEF\xBF\xBDb\xEF\xBF\xBD\n\n"],
    ['event'                   => [event   => 'ping'],                "event: ping\n\n"],
    ['an empty event'          => [event   => '', data => 1],         "event: \ndata: 1\n\n"],
    ['id'                      => [id      => 7],                     "id: 7\n\n"],
    ['an empty id'             => [id      => ''],                    "id: \n\n"],
    ['retry'                   => [retry   => 5000],                  "retry: 5000\n\n"],
    ['comment'                 => [comment => "a\nb"],                ": a\n: b\n"],
    [
        'all' => [data => 'd', retry => 1, id => 'i', event => 'e', comment => 'c'],
        ": c\nevent: e\nid: i\nretry: 1\ndata: d\n\n"
    ],
    ['undef is not a field'       => [event => undef, id => undef, retry => undef, data => 'x'], "data: x\n\n"],
    ['the last of a name counts'  => [data => 'first', data => 'second'],                        "data: second\n\n"],
    ['an empty array is not data' => [id => 1, data => []],                                      "id: 1\n\n"],
    ['json'                       => [json => {text => "é\n"}], qq({"text":"\xC3\xA9\\n"})],
    ['json of undef'              => [json => undef],           'null'],
    ['json of a string'           => [json => 'x'],             '"x"'],
    [
        'json of words for numbers' => [json => ['inf', '-Infinity', 'NaN', ',nan', ':inf', undef]],
        '["inf","-Infinity","NaN",",nan",":inf",null]'
    ],
    [
        'json of numbers as objects' => [json => [map { Math::BigInt->new($_) } 5, 0, -7, '9' x 30]],
        '[5,0,-7,' . '9' x 30 . ']'
    ],
    ['json of a decimal number'       => [json => [Math::BigFloat->new('1.5'), undef]],       '[1.5,null]'],
    ['json of a string as object'     => [json => {a => Overloads->new(5)}],                  '{"a":"5"}'],
    ['json of an object with TO_JSON' => [json => [ToJSON->new([undef, Overloads->new(0)])]], '[[null,"0"]]'],
    ['bytes'                          => [data => "\xC3\xA9", bytes => 1],                    "data: \xC3\xA9\n\n"],
    ['bytes that have the flag'       => [data => flagged("\xC3\xA9"), bytes => 1],           "data: \xC3\xA9\n\n"],
    ['bytes => 0'                     => [data => "\xC3\xA9", bytes => 0], "data: \xC3\x83\xC2\xA9\n\n"],
    ['a leading space stays'          => [data => ' x', id => ' 1'],       "id:  1\ndata:  x\n\n"],
    ['other control characters'       => [data => "\t\x0B\x0C\0\x85"],     "data: \t\x0B\x0C\0\xC2\x85\n\n"],
);

for my $row (@BLOCKS) {
    my ($name, $args, $block) = @$row;
    $block = "data: $block\n\n" if $name =~ /^json/;
    my $got = format_event(@$args);
    is $got, $block, "$name: the block";
    ok !utf8::is_utf8($got), "$name: the block is bytes, not characters";
    is format_event({@$args}), $block, "$name: the block of a hash is the same" if $name !~ /last of a name/;
    is plain_format_event(@$args), $block, "$name: the block of the naive encoder is the same"
        if !grep { defined && /\A(?:json|bytes)\z/ } @$args;
}

my $NO_RETRY = 'retry must be a whole number of milliseconds, in ASCII digits';

# t/settings/mistakes.t has references, unknown fields, and fields that exclude each other.
my @REFUSED = (
    ['a line break in id'       => [id      => "a\nb"],             'id must not contain a line break'],
    ['a CR in event'            => [event   => "a\r"],              'event must not contain a line break'],
    ['NUL in id'                => [id      => "a\0"],              'id must not contain NUL'],
    ['NUL in event'             => [event   => "\0"],               'event must not contain NUL'],
    ['retry with a fraction'    => [retry   => '1.5'],              $NO_RETRY],
    ['retry below zero'         => [retry   => -1],                 $NO_RETRY],
    ['retry that is empty'      => [retry   => ''],                 $NO_RETRY],
    ['other digits'             => [retry   => '٣'],                $NO_RETRY],
    ['an unknown wide field'    => ['dätä☺' => 1],                  q(unknown field 'dätä☺')],
    ['undef in the array'       => [data    => [1, undef]],         'element 1 of data is undefined'],
    ['bytes that are not UTF-8' => [data    => "\xE9", bytes => 1], 'data must be valid UTF-8'],
    [
        'only undef' => [data => undef],
        'an event needs one of event, id, retry, data, json, comment; undef leaves one out'
    ],
    [
        'an object in json' => [json => [bless {}, 'Other']],
        'json: an object of Other has no method TO_JSON, and no string'
    ],
    ['no number in json' => [json => Math::BigInt->bnan], 'json: NaN is not a number that JSON has'],
    (
        map { ["an infinite number in json, $_->[0]" => [json => $_->[1]], 'json: Inf is not a number that JSON has'] }
            ['alone' => $INFINITE],
        ['in an array'       => [1, $INFINITE]],
        ['in a hash'         => {a => undef, b => {c => $INFINITE}}],
        ['of an object'      => ToJSON->new([$INFINITE])],
        ['next to an object' => [Overloads->new('x'), $INFINITE]],
    ),
    ['a negative infinite number in json' => [json => -$INFINITE], 'json: -Inf is not a number that JSON has'],
    ['NaN in json' => [json => [$INFINITE - $INFINITE]],           'json: NaN is not a number that JSON has'],
    [
        'an odd number of arguments' => [data => 1, 'id'],
        'format_event takes a hash reference, or names and values in pairs'
    ],
    map { [@$_, 'format_event is a function, not a method: EventSource::XS::format_event(...)'] }
        ['a call as a method' => ['EventSource::XS', data => 1]],
    ['a call as a method with a hash'    => ['EventSource::XS', {data => 1}]],
    ['a call as a method without fields' => ['EventSource::XS']],
);

for my $row (@REFUSED) {
    my ($name, $args, $why) = @$row;
    my ($file, $line) = (__FILE__, __LINE__ + 1);
    my $got = eval { format_event(@$args) };
    is $@,   "EventSource::XS: $why at $file line $line.\n", "$name is refused at the caller's line";
    is $got, undef,                                          "$name: nothing is returned";
}

# The JSON modules write such numbers in other ways. JSON::MaybeXS takes the first module that it can load.
for my $module (qw(Cpanel::JSON::XS JSON::XS JSON::PP)) {
    my @missing =
        $module eq 'JSON::PP' ? qw(Cpanel/JSON/XS.pm JSON/XS.pm) : $module eq 'JSON::XS' ? 'Cpanel/JSON/XS.pm' : ();
    my $program = <<'PROGRAM';
BEGIN { @INC{@ARGV} = () }
use EventSource::XS::Settings;
my $settings = EventSource::XS::Settings->new('M');
my $infinite = 9**9**9;
print "$JSON::MaybeXS::JSON_Class\n";
print +(eval { $settings->json($_) } // $@ =~ s/ at .*//sr), "\n"
    for $infinite, [1, -$infinite], {a => $infinite - $infinite, b => undef}, ['inf', ':nan', ',null', undef];
PROGRAM
    open my $output, '-|', $^X, (map { "-I$_" } @INC), '-e', $program, @missing or die "perl: $!";
    chomp(my ($class, @got) = <$output>);
    close $output;
SKIP: {
        skip "$module is not installed" => 1 if $class ne $module;
        my @refused = map { "M: json: $_ is not a number that JSON has" } qw(Inf -Inf NaN);
        is_deeply \@got, [@refused, '["inf",":nan",",null",null]'],
            "$module: numbers that JSON lacks are refused, not words";
    }
}

subtest 'json becomes one line of data' => sub {
    my $structure = {list => [1, "two\n", undef], text => 'é☺'};
    my ($data) = format_event(json => $structure) =~ /\Adata: (.*)\n\n\z/;
    is_deeply decode_json($data), $structure, 'the line decodes to the same structure';
};

subtest 'an object deep in json' => sub {
    my ($deep, @warnings) = [undef, Overloads->new(5)];
    $deep = [$deep] for 1 .. 200;
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    is format_event(json => $deep), 'data: ' . '[' x 200 . '[null,"5"]' . ']' x 200 . "\n\n", 'is its string';
    is_deeply \@warnings, [], 'without a warning of recursion';
};

# Up to 255 bytes a block is written at once, into the target of the op.
subtest 'a block of every length is as the naive encoder writes it' => sub {
    for my $text ('x', "\xe9", "x\n", "\x{263a}") {
        my ($ours, $naive) = map {
            my $format = $_;
            [map { $format->(id => 7, data => $text x $_) } 0 .. 260]
        } \&format_event, \&plain_format_event;
        is_deeply $ours, $naive, sprintf 'of U+%04X', ord $text;
    }
};

subtest 'format_event does not change its arguments' => sub {
    my ($number, $text) = (7, "a\nb");
    format_event(id => $number, data => $text);
    is(JSON::MaybeXS->new->encode([$number]), '[7]', 'a number is still a number');
    is $text, "a\nb", 'a string is unchanged';
};

done_testing;

# Returns the same string with the UTF-8 flag.
sub flagged { my $text = shift; utf8::upgrade($text); return $text }
