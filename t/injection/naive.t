# The injection tests detect faulty encoders: each fault is found by the strings that should reveal it.

use lib 't/lib';
use Testing;
use Encode             qw(encode);
use Testing::Injection qw(expected_lines injected lines require_parser);

require_parser();

sub caught {
    my ($name, $encoder, $expected, @by) = @_;
    my @wrong = injected($encoder, $expected);
    for my $by (@by) {
        ok scalar(grep { index($_, qq("$by" )) == 0 } @wrong), "$name: caught by $by";
    }
    return;
}

caught(
    'data that is not split into lines',
    sub { encode('UTF-8', "data: $_[0]\n\n") },
    sub { return {events => [{data => lines($_[0])}]} },
    '\\n', '\\r', 'a\\na', '\\n\\na'
);
caught(
    'data without a space after the colon',
    sub { encode('UTF-8', 'data:' . lines($_[0]) =~ s/\n/\ndata:/gr . "\n\n") },
    sub { return {events => [{data => lines($_[0])}]} },
    ' ', ' a'
);
caught(
    'data without its last line',
    sub {
        encode('UTF-8', join('', map { "data: $_\n" } split /\n/, lines($_[0])) . "\n");
    },
    sub { return {events => [{data => lines($_[0])}]} },
    '',
    '\\n',
    'a\\n'
);
caught(
    'an id that is not checked',
    sub { encode('UTF-8', "id: $_[0]\ndata: beside\n\n") },
    {expected_lines()}->{id},
    '\\u0000', '\\n', 'a\\na'
);
done_testing;
