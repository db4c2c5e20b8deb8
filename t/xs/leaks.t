# XSUBs leak no memory: neither when they return, nor when Perl code dies inside them, nor when they refuse a field.

use lib 't/lib';
use Testing;
use Testing::Leaks qw(dies leaks_nothing says);
use EventSource::Parser;
use EventSource::XS qw(format_event);
use HTTP::ServerEvent;
use Tie::Array;
use Tie::Hash;
use Tie::Scalar;

my $object = says(sub { "é\nx" });
my $dying  = says(sub { die "no\n" });
tie my $scalar, 'Tie::StdScalar', "☺\n";
tie my @array, 'Tie::StdArray';
@array = (1, 'two', '☺');
tie my %hash, 'Tie::StdHash';
%hash = (id => 1, data => 'x');
my $bytes  = "id: 7\nretry: 5\ndata: \xE2\x98\xBA\n\ndata: b\n\n";
my $parser = EventSource::Parser->new(max_event => 100);

leaks_nothing(
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
            my $x = format_event(data => $object, event => says(sub { 'e' }));
        }
    ],
    ['a bad id'           => dies(sub { format_event(id   => "a\n", data => [1 .. 100]) })],
    ['a bad name'         => dies(sub { format_event(dta  => 1) })],
    ['bad bytes'          => dies(sub { format_event(data => "\xE9", bytes => 1) })],
    ['wide bytes'         => dies(sub { format_event(data => '☺',    bytes => 1) })],
    ['bad json'           => dies(sub { format_event(json => \*STDIN) })],
    ['a die'              => dies(sub { format_event(data => [1 .. 100, $dying]) })],
    ['a die in a field'   => dies(sub { format_event(data => $object, id => $dying) })],
    ['as_string'          => sub { my $x = HTTP::ServerEvent->as_string(event => 'e', data => "☺\n") }],
    ['as_string, nothing' => sub { my $x = HTTP::ServerEvent->as_string }],
    ['as_string, refused' => dies(sub { HTTP::ServerEvent->as_string(id    => "☺\n") })],
    ['as_string, a die'   => dies(sub { HTTP::ServerEvent->as_string(event => 'e', data => $dying) })],
    ['push' => sub { my $x = EventSource::XS::_push_bytes(0, 'a', {id => 1, data => '☺'}, [1, 2], {}, undef) }],
    ['push, tied'           => sub { my $x = EventSource::XS::_push_bytes(0, \%hash,             $scalar, \@array) }],
    ['push, converted text' => sub { my $x = EventSource::XS::_push_bytes(0, substr "\xC3\xA9☺", 0,       2) }],
    ['push, refused'        => dies(sub { EventSource::XS::_push_bytes(0, {id => "\n"}) })],
    [
        'push, fields of publish' => sub {
            my @messages = ({json => {a => [1]}}, {comment => 'x'}, {data => "\xC3\xA9", bytes => 1});
            my $x        = EventSource::XS::_push_bytes(0, @messages);
        }
    ],
    ['push, fields without a hash' => sub { my $x = EventSource::XS::_push_bytes(0, data => 'x') }],
    ['push, unknown fields' => sub { my $x = EventSource::XS::_push_bytes(0, {evnet => 1, data => 'x', foo => 2}) }],
    ['push, a reference'    => sub { my $x = EventSource::XS::_push_bytes(0, 'a', {data => {}}) }],
    ['push, bad json'            => dies(sub { EventSource::XS::_push_bytes(0, {json => \*STDIN}) })],
    ['usage'                     => dies(sub { EventSource::Parser::feed() })],
    ['as_string, unknown fields' => sub { my $x = HTTP::ServerEvent->as_string(dta => 1, data => 'x') }],
    ['push, a die'               => dies(sub { EventSource::XS::_push_bytes(0, 'a', {data => $dying}) })],
    ['a parser' => sub { my $p = EventSource::Parser->new; my @events = $p->feed($bytes); $p->finish }],
    ['events left behind' => sub { my $p     = EventSource::Parser->new; $p->feed($bytes) }],
    ['id and retry'       => sub { my @facts = ($parser->last_event_id, $parser->retry) }],
    [
        'too large' => sub {
            dies(sub { $parser->feed('x' x 200) })->();
            $parser->finish;
        }
    ],
    ['wide feed'    => dies(sub { $parser->feed('☺') })],
    ['feed, a die'  => dies(sub { $parser->feed($dying) })],
    ['no parser'    => dies(sub { EventSource::Parser::feed({}, 'x') })],
    ['a bad option' => dies(sub { EventSource::Parser->new(max_event => 'x') })],
);

done_testing;
