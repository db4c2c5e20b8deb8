package Testing::Clients::Cases;
use strict;
use warnings;
use utf8;

# The events whose data every client must deliver exactly: [name, event as it is published, type and data as a client has it].
#
#   $hub->publish(data => $_->[1]) for cases();

use Exporter qw(import);

our @EXPORT_OK = qw(cases);

my @CASES = (
    ['a line',                     {data => 'plain'}],
    ['two lines',                  {data => "a\nb"}],
    ['an empty line within',       {data => "a\n\nb"}],
    ['an empty line first',        {data => "\na"}],
    ['an empty line last',         {data => "a\n"}],
    ['CRLF and CR',                {data => "a\r\nb\rc"}, "a\nb\nc"],
    ['spaces around',              {data => '  a  '}],
    ['what looks like fields',     {data => "id: 6\nevent: x\n\ndata: y"}],
    ['a colon first',              {data => ': no comment'}],
    ['a JSON text',                {data => '{"a": ["<b>&amp;</b>", null]}'}],
    ['characters',                 {data => 'é ☺ 𝄞 日本語'}],
    ['line separators of Unicode', {data => "a\x{2028}b\x{85}c\x{0B}d\x{0C}e"}],
    ['a byte order mark',          {data => "\x{FEFF}a"}],
    ['16 KB in lines',             {data => join "\n", ('x' x 127) x 128}],
    ['no data',                    {data => ''}],
    ['a type of its own',          {data => 'typed',    event => 'custom'}],
    ['an empty event with a type', {data => '',         event => 'custom'}],
    ['the last one',               {data => 'all sent', event => 'done'}],
);

sub cases {
    return map { [@$_[0, 1], {type => $_->[1]{event} // 'message', data => $_->[2] // $_->[1]{data}}] } @CASES;
}

1;
