# The parser of share/eventsource-hub.js gives what EventSource::Parser gives, wherever a stream is cut. The cases are those
# of the standard in src/parse/tests.rs, what the originals and this distribution write, and streams at random.

use lib 't/lib';
use Testing;
use Encode qw(encode);
use EventSource::Parser;
use EventSource::XS       qw(format_event);
use MIME::Base64          qw(encode_base64);
use Testing::BrowserCases ();
use Testing::Developer    qw(needs_command);
use Testing::Node         qw(run_script);
use Testing::SourceTree   qw(slurp);
use Testing::Vectors      qw(draw vectors);

needs_command('node');

my $EXACT = 2**53;    # up to here a number of JavaScript is exact

# Pieces of random streams, so that each rule of the standard applies often.
my @PIECES = (
    'data',   'event',        'id',   'retry',        ':', ': ', "\n", "\r", "\r\n", "\n\n", 'x', '42', "\0", ' ',
    "data\n", "\xEF\xBB\xBF", "\xEF", "\xE2\x98\xBA", "\xF0\x9F\x98\x80", "\xFF", "data: y\n\n", "id: 7\n"
);

# The byte strings of Rust in the tests of the parser of EventSource::Parser.
sub streams_of_rust {
    my $source = slurp('src/parse/tests.rs');
    my @found  = $source =~ /\bb"((?:[^"\\]|\\.)*)"/g;
    push @found, map { encode('UTF-8', $_) } $source =~ /^\s*\("(retry(?:[^"\\]|\\.)*)"/mg;
    my %escape = (n => "\n", r => "\r", 0 => "\0", '"' => '"', '\\' => '\\');
    s/\\(?:x([0-9A-Fa-f]{2})|(.))/defined $1 ? chr hex $1 : $escape{$2}/ge for @found;
    return @found;
}

sub random_streams {
    my @streams;
    draw sub {
        push @streams, join '', map { $PIECES[rand @PIECES] } 1 .. rand 60;
    };
    return @streams;
}

sub in_perl {
    my $parser = EventSource::Parser->new;
    my @events = map { {type => $_->{event}, data => $_->{data}, lastEventId => $_->{id}} } $parser->feed(shift);
    return {events => \@events, id => $parser->last_event_id, retry => $parser->retry, strange => undef};
}

my %KIND = (
    'the standard'  => [streams_of_rust()],
    'the originals' =>
        [map { encode('UTF-8', $_->{out}) } grep { defined $_->{out} } map { vectors($_) } qw(as_string push)],
    'what browsers receive' => [
        map {
            join '',
                map { format_event(ref ? $_ : (data => $_)) }
                @{$_->[1]}
        } Testing::BrowserCases::cases()
    ],
    'random pieces' => [random_streams()],
);

my @kinds   = sort keys %KIND;
my @streams = map { @{$KIND{$_}} } @kinds;
my @seen    = run_script(parse => map { encode_base64($_, '') } @streams);
for my $kind (@kinds) {
    my ($count, @different) = scalar @{$KIND{$kind}};
    for my $stream (@{$KIND{$kind}}) {
        my ($expected, $seen) = (in_perl($stream), shift @seen);
        for ($expected, $seen) { $_->{retry} = $EXACT if ($_->{retry} // 0) > $EXACT }
        push @different, {stream => $stream, expected => $expected, seen => $seen}
            if !Test::More::eq_hash($expected, $seen);
    }
    cmp_ok $count, '>', 20, "$kind: there are streams";
    is_deeply \@different, [], "$kind: each of $count has the same events, wherever it is cut"
        or diag explain $different[0];
}

done_testing;
