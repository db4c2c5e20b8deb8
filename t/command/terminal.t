# What a remote side writes does not reach the terminal as it is: control characters would move its cursor, set its title, or
# have it type.

use lib 't/lib';
use Testing;
use File::Temp ();
use JSON::PP   ();
use Testing::CommandLine;
use Testing::Developer     qw(needs_command);
use Testing::HostileServer qw(hostile_server);
use Testing::SourceTree    qw(slurp);

needs_command('script');

# C0, DEL, C1 in UTF-8, and C1 as single bytes.
my $EVIL = "\e]0;title\a\x08\x7F\xC2\x9B31m\xC2\x9D0;x\x9B31m\xE0\x82\x9B";

my $shell = Testing::CommandLine->new;

# Runs a command with a terminal as its output, and returns what the terminal got.
sub on_terminal {
    my @arguments = @_;
    my $got       = File::Temp->new;
    my $command   = join ' ', map { quotemeta } $^X, '-Mblib', 'bin/eventsource', @arguments;
    local $ENV{EVENTSOURCE_RUNTIME_DIR} = $shell->folder;
    local $ENV{COMMAND}                 = $command;
    system qq{script -q -e -c "\$COMMAND" /dev/null </dev/null >"$got" 2>&1};
    return slurp($got->filename);
}

# Checks that a terminal got a text, and no control characters but those of line ends and tabs.
sub is_clean {
    my ($bytes, $pattern, $name) = @_;
    like $bytes, $pattern, "$name: it is printed";
    my $text = $bytes =~ s/\r?\n/\n/gr;
    utf8::decode($text);
    return unlike $text, qr/[\x00-\x08\x0B-\x1F\x7F-\x9F]/, "$name: no control character";
}

# Returns what a function gets of tail --raw, which ends after a time. On a busy machine that must be longer.
sub raw {
    my ($run, @source) = @_;
    my $got;
    for my $seconds (1, 20) {
        $got = $run->('tail', '--raw', '--timeout', $seconds, @source);
        last if $got =~ /word/;
    }
    return $got;
}

my %response = (
    stream => "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nid: $EVIL\nevent: $EVIL\ndata: word$EVIL\n\n",
    reason => "HTTP/1.1 404 word$EVIL\r\nContent-Length: 0\r\n\r\n",
    type   => "HTTP/1.1 200 OK\r\nContent-Type: word$EVIL\r\nContent-Length: 0\r\n\r\n",
    none   => "word$EVIL\r\n\r\n",
    field  => "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nword$EVIL: 1\n\n",
    allow  => "HTTP/1.1 405 No\r\nAllow: word$EVIL\r\nContent-Length: 0\r\n\r\n",
    away   => "HTTP/1.1 302 Found\r\nLocation: word:$EVIL\r\nContent-Length: 0\r\n\r\n",
);
my $server = hostile_server sub {
    my ($client, $head) = @_;
    print {$client} $response{($head =~ m{\A\S+ /(\w+)})[0]};
};

for my $form ([], ['--data'], ['--json']) {
    is_clean(on_terminal('tail', @$form, '--count', 1, $server->url('/stream')), qr/word/, "tail @$form");
}
is_clean(raw(\&on_terminal, $server->url('/stream')), qr/word/, 'tail --raw');
is_clean(on_terminal('tail', $server->url("/$_")),    qr/word/, "tail: $_") for qw(reason type none);
for my $name (qw(reason type none field allow away)) {
    for my $form ([], ['--json']) {
        is_clean(on_terminal('doctor', '--seconds', 0.5, @$form, $server->url("/$name")), qr/./,
            "doctor @$form: $name");
    }
}

subtest 'the events of a hub' => sub {
    my $text = "word\e]0;x\a\xC2\x9B31m";
    $shell->run('publish', '--autostart', '--hub', 'test', $text, $text);
    is_clean(on_terminal(qw(channels --hub test)),                     qr/word/, 'channels');
    is_clean(on_terminal(qw(channels --hub test --json)),              qr/word/, 'channels --json');
    is_clean(on_terminal(qw(tail --hub test --last 1 --count 1), @$_), qr/word/, "tail @$_")
        for [], ['--data'], ['--json'];
    is_clean(raw(\&on_terminal, qw(--hub test --last 1)), qr/word/, 'tail --raw');
};

subtest 'lists have a heading for a person' => sub {
    for my $list (['channels', '--hub', 'test'], ['members', '--hub', 'test', 'people'], ['hub', 'list']) {
        like on_terminal(@$list),             qr/\A[A-Z]+\t[A-Z]+\t/, "@$list: the columns are named";
        unlike $shell->run(@$list)->{out},    qr/^[A-Z]+\t[A-Z]+\t/m, 'for a program they are not';
        unlike on_terminal(@$list, '--json'), qr/^[A-Z]+\t/m,         'nor in JSON';
    }
};

subtest 'programs get what was sent' => sub {
    like raw(sub { $shell->run(@_)->{out} }, $server->url('/stream')), qr/\Q$EVIL\E/, '--raw';
    my $json = $shell->run(qw(tail --hub test --last 1 --count 1 --json))->{out};
    unlike $json, qr/\xC2[\x80-\x9F]/, '--json has no control characters';
    is JSON::PP::decode_json($json)->{data}, "word\e]0;x\a\x{9B}31m", 'and the text as it is';
};

done_testing;
