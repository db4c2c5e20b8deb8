# Wrong arguments of commands: the exit code is 2, or 5 if the hub refuses them, and one line says what to do.

use lib 't/lib';
use Testing;
use Testing::CommandLine;

my $shell = Testing::CommandLine->new;
$shell->run(qw(hub start test));

my %CODE = (qr/must have at most 1024/ => 5);

delete local $ENV{EVENTSOURCE_HUB};
for my $case (
    ['publish --hub test' => qr/which channel/],
    ['publish --hub test' => qr/no data/,                  'news'],
    ['publish --hub test' => qr/--id is for one event/,    qw(news --id 1 a b)],
    ['publish --hub test' => qr/not both/,                 qw(news --lines --json-lines)],
    ['publish --hub test' => qr/standard input, not from/, qw(news --lines x)],
    ['publish --hub test' => qr/the data is not JSON/,     qw(news --json), '{'],
    ['publish --hub test' => qr/the data is not JSON/,     qw(news --json), "\xEF\xBB\xBF{}"],
    ['publish --hub test' => qr/the data is not UTF-8/,    'news',          "\xFF"],
    ['publish --hub test' => qr/the data is not UTF-8/,    'news',          "a surrogate \xED\xA0\xBD"],
    ['publish --hub test' => qr/the data is not UTF-8/,    'news',          "above U+10FFFF \xF4\x90\x80\x80"],
    ['publish --hub test' => qr/Unknown option: evnt/,     qw(news x --evnt a)],
    ['publish --hub test' => qr/must have at most 1024/,   'n' x 1025, 'x'],
    ['publish --hub test' => qr/--retain needs --key/,     qw(stock --retain x)],
    ['publish --hub test' => qr/--retain needs --key/,     qw(stock --retain --key), '', 'x'],
    ['publish --hub test' => qr/--retain has no meaning with --json-lines/, qw(stock --json-lines --retain)],
    ['forget --hub test'  => qr/which channel, and which key/,              'stock'],
    ['forget --hub test'  => qr/what is 'more'/,                            qw(stock key more)],
    ['forget --hub test'  => qr/the key is not UTF-8/,                      'stock', "\xFF"],
    ['forget --hub test'  => qr/must have at most 1024/,                    'stock', 'k' x 1025],
    ['tail --hub test'    => qr/one of --last/,                             qw(--from-state --after x)],
    ['tail --hub test'    => qr/one of --last/,                             qw(--last 1 --from-start)],
    ['tail --hub test'    => qr/one of --json, --raw, --data/,              qw(--json --raw)],
    ['tail --hub test'    => qr/not a regular expression/,                  qw{--match (}],
    ['tail --hub test'    => qr/--raw prints all/,                          qw(--raw --count 1)],
    ['tail'               => qr/--last is for hubs/,                        qw(--last 1 http://127.0.0.1:1/)],
    ['hub check'          => qr/which hub/],
    ['hub check'          => qr/what is 'b'/,             qw(a b)],
    ['hub check'          => qr/lag/,                     qw(a --lag x)],
    ['hub check'          => qr/--pending takes seconds/, qw(a --pending -1)],
    ['hub check'          => qr/name must be/,            'a b'],
) {
    my ($command, $message, @arguments) = @$case;
    my ($name, @rest) = split / /, $command;
    my $done = $shell->run($name, @rest, @arguments);
    my $what = join ' ', $command, map { length > 99 ? 'a long word' : s/[^ -~]/?/gr } @arguments;
    is $done->{code}, $CODE{$message} // 2, "$what: the exit code";
    like $done->{err}, qr/\Aeventsource $name: .*$message.*\n\z/, "$what: one line";
}

done_testing;
