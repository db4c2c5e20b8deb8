# Every function of the boundary, called with every kind of argument that it is meant for. script/sanitize runs this
# under valgrind.

## no critic (Modules::ProhibitMultiplePackages, Modules::RequireFilenameMatchesPackage)

use strict;
use warnings;

use EventSource::Parser;
use EventSource::XS qw(format_event);
use HTTP::ServerEvent;
use Test::More;

{

    package Tied;
    sub TIESCALAR { return bless [$_[1]], $_[0] }
    sub FETCH     { return $_[0][0] }
}
{

    package Named;
    use overload '""' => sub { return 'named' };
}

tie my $tied, 'Tied', 'tied';
'matched' =~ /(.*)/;
my $substring = 'a substring';
my $long      = join "\n", ('long') x 20_000;

# A name, what is sent for it, and the value by reference.
my @VALUES = (
    [empty         => '',                         \''],
    [text          => 'text',                     \'text'],
    [characters    => "\xE2\x98\xBA",             \"\x{263A}"],
    [Latin         => "caf\xC3\xA9",              \"caf\xE9"],
    ['a surrogate' => "\xEF\xBF\xBD",             \"\x{D800}"],
    [zero          => '0',                        \0],
    [negative      => '-17',                      \-17],
    [smallest      => "${\-9223372036854775808}", \-9223372036854775808],
    [largest       => '18446744073709551615',     \18446744073709551615],
    [fraction      => '1.5',                      \1.5],
    [tied          => 'tied',                     \$tied],
    [overloaded    => 'named',                    \bless [], 'Named'],
    [matched       => 'matched',                  \$1],
    [substring     => 'sub',                      \substr($substring, 2, 3)],
    [glob          => '*main::STDOUT',            \*STDOUT],
    [long          => $long,                      \$long],
);

sub lines {
    my ($text, $end) = @_;
    return join('', map { "data: $_$end" } length $text ? split /\n/, $text, -1 : '') . $end;
}

for (@VALUES) {
    my ($name, $sent, $ref) = @$_;
    is format_event(data => $$ref),                        lines($sent, "\n"),   "format_event: $name";
    is format_event({data => $$ref}),                      lines($sent, "\n"),   "format_event, a hash: $name";
    is format_event(data => [$$ref]),                      lines($sent, "\n"),   "format_event, an array: $name";
    is EventSource::XS::_push_bytes(1, $$ref),             lines($sent, "\r\n"), "push: $name";
    is EventSource::XS::_push_bytes(0, {data => [$$ref]}), lines($sent, "\r\n"), "push, a hash: $name";
    my $string = HTTP::ServerEvent->as_string(data => $$ref);
    utf8::encode($string) if utf8::is_utf8($string);
    isnt $string, '', "as_string: $name";
    my $parser = EventSource::Parser->new;
    my $bytes  = lines($sent, "\n");
    is scalar $parser->feed($bytes), 1, "feed: $name";
    is_deeply [$parser->last_event_id, $parser->retry], ['', undef], "the state: $name";
    $parser->finish;
}

is format_event(map { ("$_" => '7') } qw(event id retry data comment)),
    ": 7\nevent: 7\nid: 7\nretry: 7\ndata: 7\n\n", 'all fields';
is format_event(json  => {a => "\x{263A}"}),         qq(data: {"a":"\xE2\x98\xBA"}\n\n), 'JSON';
is format_event(bytes => 1, data => "\xE2\x98\xBA"), "data: \xE2\x98\xBA\n\n",           'bytes';
is format_event(data  => [1 .. 50]), join('', map { "data: $_\n" } 1 .. 50) . "\n", 'more fields than fit the stack';
is EventSource::XS::_push_bytes(1, undef), "data: \r\n\r\n", 'undef';
ok !defined EventSource::XS::_nothing(), 'nothing';
is EventSource::XS::_forks(), 0, 'no fork';

for my $wrong (
    [id       => "a\nb"],
    [id       => "\0"],
    [retry    => 'x'],
    [data     => {}],
    [nonsense => 1],
    ['odd'], [bytes => 1, data => "\xFF"]
) {
    ok !eval { format_event(@$wrong) }, "refused: @$wrong";
}
my $small = EventSource::Parser->new(max_event => 10);
ok !eval { $small->feed('data: longer than that') }, 'an event that is too large';

SKIP: {
    skip 'this perl has no threads', 1 if !eval { require threads; 1 };
    my $parser = EventSource::Parser->new;
    $parser->feed("id: 7\ndata: half");
    my @events = threads->create({context => 'list'}, sub { $parser->feed("\n\n") })->join;
    is_deeply [@events, $parser->feed(" done\n\n")],
        [{event => 'message', data => 'half', id => 7}, {event => 'message', data => 'half done', id => 7}],
        'a thread has a parser of its own';
}

done_testing;
