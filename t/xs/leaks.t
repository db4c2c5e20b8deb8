# XSUBs leak no memory: neither when they return, nor when Perl code dies inside them, nor when they refuse a field.

use lib 't/lib';
use Testing;
use Testing::Developer qw(needs_module);

BEGIN {
    needs_module('Test::LeakTrace');
    Test::LeakTrace->import;
}

use EventSource::Parser;
use EventSource::XS qw(format_event);
use HTTP::ServerEvent;
use Tie::Array;
use Tie::Hash;
use Tie::Scalar;

{

    package Says;
    use overload '""' => sub { $_[0]->() }, fallback => 1;
}
my $object = bless sub { "é\nx" }, 'Says';
my $dying  = bless sub { die "no\n" }, 'Says';
tie my $scalar, 'Tie::StdScalar', "☺\n";
tie my @array, 'Tie::StdArray';
@array = (1, 'two', '☺');
tie my %hash, 'Tie::StdHash';
%hash = (id => 1, data => 'x');
my $bytes  = "id: 7\nretry: 5\ndata: \xE2\x98\xBA\n\ndata: b\n\n";
my $parser = EventSource::Parser->new(max_event => 100);

my @CASES = (
    ['short'        => sub { my $x = format_event(event => 'e', id => 7, data => 'x') }],
    ['long'         => sub { my $x = format_event(data  => 'x' x 5_000) }],
    ['a hash'       => sub { my $x = format_event({event => 'e', id => 7, data => "a\nb"}) }],
    ['a long array' => sub { my $x = format_event(data => [1 .. 100]) }],
    ['a fraction'   => sub { my $x = format_event(data => [1.5, 2.5]) }],
    ['json'         => sub { my $x = format_event(json => {a => [1, 2, '☺']}) }],
    ['bytes'        => sub { my $x = format_event(data => "\xC3\xA9", bytes => 1) }],
    ['surrogates'   => sub { my $x = format_event(data => "a\x{D800}\x{110000}") }],
    ['tied'         => sub { my $x = format_event(data => $scalar) }],
    ['a tied array' => sub { my $x = format_event(data => \@array) }],
    ['a tied hash'  => sub { my $x = format_event(\%hash) }],
    [
        'an object' => sub {
            my $x = format_event(data => $object, event => bless sub { 'e' }, 'Says');
        }
    ],
    [
        'a bad id' => sub {
            eval { format_event(id => "a\n", data => [1 .. 100]) }
        }
    ],
    [
        'a bad name' => sub {
            eval { format_event(dta => 1) }
        }
    ],
    [
        'bad bytes' => sub {
            eval { format_event(data => "\xE9", bytes => 1) }
        }
    ],
    [
        'wide bytes' => sub {
            eval { format_event(data => '☺', bytes => 1) }
        }
    ],
    [
        'bad json' => sub {
            eval {
                format_event(json => sub { });
            }
        }
    ],
    [
        'a die' => sub {
            eval { format_event(data => [1 .. 100, $dying]) }
        }
    ],
    [
        'a die in a field' => sub {
            eval { format_event(data => $object, id => $dying) }
        }
    ],
    ['as_string'          => sub { my $x = HTTP::ServerEvent->as_string(event => 'e', data => "☺\n") }],
    ['as_string, nothing' => sub { my $x = HTTP::ServerEvent->as_string }],
    [
        'as_string, refused' => sub {
            eval { HTTP::ServerEvent->as_string(id => "☺\n") }
        }
    ],
    [
        'as_string, a die' => sub {
            eval { HTTP::ServerEvent->as_string(event => 'e', data => $dying) }
        }
    ],
    ['push' => sub { my $x = EventSource::XS::_push_bytes(0, 'a', {id => 1, data => '☺'}, [1, 2], {}, undef) }],
    ['push, tied'           => sub { my $x = EventSource::XS::_push_bytes(0, \%hash,             $scalar, \@array) }],
    ['push, converted text' => sub { my $x = EventSource::XS::_push_bytes(0, substr "\xC3\xA9☺", 0,       2) }],
    [
        'push, refused' => sub {
            eval { EventSource::XS::_push_bytes(0, {id => "\n"}) }
        }
    ],
    [
        'push, fields of publish' => sub {
            my $x = EventSource::XS::_push_bytes(
                0,
                {json    => {a => [1]}},
                {comment => 'x'},
                {data    => "\xC3\xA9", bytes => 1}
            );
        }
    ],
    ['push, fields without a hash' => sub { my $x = EventSource::XS::_push_bytes(0, data => 'x') }],
    ['push, unknown fields' => sub { my $x = EventSource::XS::_push_bytes(0, {evnet => 1, data => 'x', foo => 2}) }],
    [
        'push, a reference' => sub {
            eval { EventSource::XS::_push_bytes(0, 'a', {data => {}}) }
        }
    ],
    [
        'push, bad json' => sub {
            eval {
                EventSource::XS::_push_bytes(0, {json => sub { }});
            }
        }
    ],
    [
        'usage' => sub {
            eval { EventSource::Parser::feed() }
        }
    ],
    ['as_string, unknown fields' => sub { my $x = HTTP::ServerEvent->as_string(dta => 1, data => 'x') }],
    [
        'push, a die' => sub {
            eval { EventSource::XS::_push_bytes(0, 'a', {data => $dying}) }
        }
    ],
    ['a parser'           => sub { my $p     = EventSource::Parser->new; my @events = $p->feed($bytes); $p->finish }],
    ['events left behind' => sub { my $p     = EventSource::Parser->new; $p->feed($bytes) }],
    ['id and retry'       => sub { my @facts = ($parser->last_event_id, $parser->retry) }],
    [
        'too large' => sub {
            eval { $parser->feed('x' x 200) };
            $parser->finish;
        }
    ],
    [
        'wide feed' => sub {
            eval { $parser->feed('☺') }
        }
    ],
    [
        'feed, a die' => sub {
            eval { $parser->feed($dying) }
        }
    ],
    [
        'no parser' => sub {
            eval { EventSource::Parser::feed({}, 'x') }
        }
    ],
    [
        'a bad option' => sub {
            eval { EventSource::Parser->new(max_event => 'x') }
        }
    ],
);

for my $row (@CASES) {
    my ($name, $code) = @$row;
    local $SIG{__WARN__} = sub { };
    $code->();    # perl keeps memory that it allocates at the first run of code
    no_leaks_ok(sub { $code->() }, $name);
}

done_testing;
