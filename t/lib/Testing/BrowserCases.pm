package Testing::BrowserCases;
use strict;
use warnings;
use utf8;

# The messages that t/browser/events.psgi pushes, and the event that a browser must dispatch: [name, messages, event]. An
# event is {type, data, lastEventId}; type defaults to message, lastEventId to that of the previous event.
#
#   $conn->push(@{$_->[1]}) for cases();

use Encode   qw(encode);
use Exporter qw(import);

our @EXPORT_OK = qw(cases expected_events);

my @CASES = (
    ['a string',                   ['plain'],                          {data => 'plain'}],
    ['zero',                       ['0'],                              {data => '0'}],
    ['nothing',                    [''],                               {data => ''}],
    ['LF',                         ["a\nb"],                           {data => "a\nb"}],
    ['CRLF',                       ["a\r\nb"],                         {data => "a\nb"}],
    ['CR',                         ["a\rb"],                           {data => "a\nb"}],
    ['an empty line',              ["a\n\nb"],                         {data => "a\n\nb"}],
    ['line breaks around',         ["\na\n\n"],                        {data => "\na\n\n"}],
    ['spaces around',              ["  a  "],                          {data => '  a  '}],
    ['what looks like fields',     ["id: 666\nevent: x\n\ndata: y\n"], {data => "id: 666\nevent: x\n\ndata: y\n"}],
    ['a colon',                    [': no comment'],                   {data => ': no comment'}],
    ['a NUL',                      ["a\0b"],                           {data => "a\0b"}],
    ['characters',                 ['é ☺ 𝄞 日本語'],                      {data => 'é ☺ 𝄞 日本語'}],
    ['characters below U+0100',    ['Grüße'],                          {data => 'Grüße'}],
    ['bytes',                      [encode('UTF-8', 'Grüße ☺')],       {data => 'Grüße ☺'}],
    ['a byte order mark',          ["\x{FEFF}a"],                      {data => "\x{FEFF}a"}],
    ['line separators of Unicode', ["a\x{2028}b\x{85}c"],              {data => "a\x{2028}b\x{85}c"}],
    ['64 KB in lines',             [join "\n", ('x' x 127) x 512],     {data => join "\n", ('x' x 127) x 512}],
    ['two messages in one event',  ['a', 'b'],                         {data => "a\nb"}],
    ['a named event',              [{event => 'ping', data => 1}],     {type => 'ping',  data        => '1'}],
    ['a name of other characters', [{event => 'größe', data => 1}],    {type => 'größe', data        => '1'}],
    ['an id',                      [{id => 7, data => 1}],             {data => '1',     lastEventId => '7'}],
    ['an id that stays',           ['b'],                              {data => 'b',     lastEventId => '7'}],
    ['an id that ends',            [{id => '', data => 1}],            {data => '1',     lastEventId => ''}],
    ['an id of other characters',  [{id => 'ïd ☺', data => 1}],        {data => '1',     lastEventId => 'ïd ☺'}],
);

sub cases { return @CASES }

sub expected_events {
    my $id = '';
    return map { $id = $_->{lastEventId} if defined $_->{lastEventId}; {type => 'message', %$_, lastEventId => $id} }
        map { $_->[2] } @CASES;
}

1;
