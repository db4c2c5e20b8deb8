# What comes in and goes out of commands: a standard input or output that is closed or full, and perl's own decoding.

use lib 't/lib';
use Testing;
use File::Temp ();
use JSON::PP   ();
use Testing::CommandLine;
use Testing::HostileServer qw(hostile_server);
use Testing::SourceTree    qw(slurp);

my $shell = Testing::CommandLine->new;
$shell->run(qw(hub start test));

# Runs a command in a shell, with redirections.
sub in_shell {
    my ($redirections, @arguments) = @_;
    local $ENV{EVENTSOURCE_RUNTIME_DIR} = $shell->folder;
    my $errors = File::Temp->new;
    utf8::encode($_) for @arguments;
    my $command = join ' ', map { "'$_'" } $^X, '-Iblib/lib', '-Iblib/arch', 'bin/eventsource', @arguments;
    my $out     = qx{exec 2>$errors; $command $redirections};
    my $code    = $? >> 8;
    utf8::decode($out);
    return {code => $code, out => $out, err => slurp($errors->filename, ':encoding(UTF-8)')};
}

# Returns the data of that many events of a channel; without a number, of those that come within half a second.
sub data_of {
    my ($channel, $count) = @_;
    my @until = $count ? ('--count', $count, qw(--timeout 30)) : qw(--timeout 0.5);
    return in_shell('', qw(tail --hub test --from-start --data), @until, $channel)->{out};
}

subtest 'a standard input that is closed' => sub {
    my @publish = qw(publish --hub test);
    for my $case ([@publish, 'closed', '-'], [@publish, qw(--lines closed)], [@publish, qw(--json-lines closed)]) {
        my $done = in_shell('<&-', @$case);
        is_deeply [@$done{qw(code out)}], [2, ''], "@$case: ends with 2";
        like $done->{err}, qr/\Aeventsource publish: the standard input is closed; /, 'and says so';
    }
    is data_of('closed'), '', 'nothing is published';
    my $done = in_shell('<&-', @publish, qw(open data));
    is $done->{code}, 0, 'data of the command line needs none';
    $done = in_shell('<bin/eventsource', @publish, qw(--quiet --lines program));
    is $done->{code}, 0, 'the program itself may be the input';
    like data_of('program', 2), qr/\A#!.*\n#/, 'and is read from its beginning';
    $done = in_shell('</', @publish, 'folder', '-');
    is $done->{code}, 1, 'an input that cannot be read ends with 1';
    like $done->{err}, qr/cannot read the standard input: Is a directory/, 'and says why';
};

subtest 'an output that takes nothing' => sub {
    plan skip_all => 'there is no /dev/full' if !-e '/dev/full';
    for my $case (['--help'], [qw(publish --help)], ['--version'], [qw(stats --hub test)]) {
        for my $to ('>/dev/full', '>&-') {
            my $done = in_shell($to, @$case);
            is $done->{code}, 1, "@$case $to: ends with 1";
            like $done->{err}, qr/cannot write to the standard output/, 'and says why';
        }
    }
};

subtest 'PERL_UNICODE' => sub {
    for my $unicode ('', 'SA', 'SDA', 'SAL') {
        local $ENV{PERL_UNICODE} = $unicode;
        local $ENV{LC_ALL}       = 'C.UTF-8';
        delete $ENV{PERL_UNICODE} if !length $unicode;
        my $channel = "r\x{e4}ume $unicode";
        is in_shell('', qw(publish --hub test), $channel, "caf\x{e9} \x{263a}", "\x{c3}\x{a9}")->{code}, 0,
            "'$unicode': published";
        is data_of($channel, 2), "caf\x{e9} \x{263a}\n\x{c3}\x{a9}\n", 'as it was given, and shown so';
        my $event = in_shell('', qw(tail --hub test --from-start --count 1 --json --timeout 5), $channel)->{out};
        is +JSON::PP->new->decode($event)->{channel}, $channel, 'an object has the name';
        like in_shell('', qw(publish --hub test), $channel, '--event', "a\n\x{e9}", 'x')->{err},
            qr/event must not contain a line break/, 'a message';
        like in_shell('', "\x{e9}\x{263a}")->{err}, qr/unknown command \x{e9}\x{263a};/, 'its text is encoded once';
        is in_shell('', qw(publish --help))->{out}, in_shell('', qw(help publish))->{out}, 'the manual';
    }
};

subtest 'PERLIO' => sub {
    for my $layers (':utf8', ':crlf') {
        local $ENV{PERLIO} = $layers;
        my $channel = "r\x{e4}ume $layers";
        is in_shell('', qw(publish --hub test), $channel, "caf\x{e9}\x{263a}\n")->{code}, 0, "$layers: published";
        is data_of($channel, 1), "caf\x{e9}\x{263a}\n\n",                                    "$layers: and read";
        my $server = hostile_server(
            sub { print {$_[0]} "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: \xC3\xA9\n\n" });
        my @tail = (qw(tail --data --count 1 --timeout), 10);
        is in_shell('', @tail, $server->url('/'))->{out}, "\x{e9}\n", "$layers: a URL";
        like in_shell('', qw(doctor --seconds 0.5), $server->url('/'))->{out}, qr/^.*The head came/m,
            "$layers: the doctor";
    }
};

subtest 'the list of commands' => sub {
    my $help     = in_shell('', '--help')->{out};
    my @commands = qw(publish forget tail stats admin channels members end outbox xmpp hub doctor);
    is_deeply [$help =~ /^  (\w+) +\w.+$/mg], \@commands, 'says what each does in one line';
};

subtest 'an event without data' => sub {
    my $lines = File::Temp->new;
    print {$lines} qq({"event":"a"}\n{"data":"x"}\n{"event":"b","key":"k"}\n{"json":null}\n);
    close $lines;
    my $done = in_shell("<$lines", qw(publish --hub test --json-lines --quiet empty));
    is $done->{code}, 0, 'is published';
    is $done->{err},
        "eventsource publish: line 1: the event has neither data nor json, so browsers show no event for it\n",
        'and the command says once that browsers do not show it';

    my $refused = in_shell(qq(<<'END'\n{}\nEND), qw(publish --hub test --json-lines --quiet empty));
    is $refused->{code},                      5, 'one that has nothing at all is refused';
    is scalar(() = $refused->{err} =~ /\n/g), 1, 'in one line' or diag $refused->{err};
};

done_testing;
