# eventsource stats, channels and hub, and the help.

use lib 't/lib';
use Testing;
use Testing::CommandLine;
use EventSource::Hub;
use EventSource::XS::Hub::Admin::Look;
use IO::Socket::UNIX    ();
use JSON::PP            ();
use POSIX               ();
use Testing::SourceTree qw(slurp);
use Testing::Subscriber;

my $shell = Testing::CommandLine->new;
my $json  = JSON::PP->new->utf8;

subtest 'start, list and stop' => sub {
    is $shell->run(qw(hub list))->{out}, '', 'no hub';
    my ($pid, $other) = map { $shell->run(qw(hub start), $_)->{out} =~ /\A([0-9]+)\n\z/ } qw(test other);
    ok kill(0 => $pid), 'start prints the process';
    is $shell->run(qw(hub start test))->{out}, "$pid\n", 'a second start starts nothing';
    my @lines = map { [split /\t/] } split /\n/, $shell->run(qw(hub list))->{out};
    is_deeply [map { [@$_[0, 1, 3, 4, 5]] } @lines], [['other', $other, 0, 0, 0], ['test', $pid, 0, 0, 0]], 'the list';
    my $worker = $shell->connect('test');
    my ($hub) = map { $json->decode($_) } (split /\n/, $shell->run(qw(hub list --json))->{out})[1];
    is_deeply [@$hub{qw(name pid workers streams channels)}], ['test', $pid, [$$], 0, 0],
        'as an object, with the workers';
    ok defined $hub->{$_}, $_ for qw(version age);
    is $shell->run(qw(hub stop other))->{code}, 0, 'stop';
    unlike $shell->run(qw(hub list))->{out}, qr/other/, 'it is not listed any more';
    is $shell->run(qw(hub stop other))->{code}, 3, 'a hub without a process cannot be stopped';
};

subtest 'the files of a hub are usable by their owner, whatever the umask is' => sub {
    my $folder = new_folder;
    my $before = umask oct 777;
    my $hub    = EventSource::Hub->new(name => 'umask', socket => "$folder/s", store => {file => "$folder/db"});
    my $id     = eval { $hub->publish(news => 'hello') };
    umask $before;
    ok defined $id, 'an event is published' or diag $@;
    my %mode = map { s{.*/}{}r => (stat)[2] & oct 600 } glob "$folder/*";
    is_deeply [@mode{qw(db db-wal s s.lock s.settings)}], [(oct 600) x 5], 'its socket and files are there'
        or explain \%mode;
    is scalar(grep { $_ != oct 600 } values %mode), 0, 'and all others' or diag explain \%mode;
    $hub->process->stop;
};

subtest "the folder of a socket is one of this user alone" => sub {
    my $folder = new_folder;
    mkdir "$folder/shared" or die "mkdir: $!\n";
    chmod oct 777, "$folder/shared";
    for my $case (['none', "cannot use $folder/none: No such"], ['shared', "$folder/shared can be written by other"]) {
        my ($name, $why) = @$case;
        ok !eval { EventSource::Hub::Process->connect(name => 'alone', socket => "$folder/$name/s", autostart => 1); },
            "not $name";
        like $@, qr/: socket must be in a folder of this user alone: \Q$why\E/, 'the message names the setting';
    }
};

subtest 'a hub that was started without a session is the one of a later session' => sub {
    my $name = "session$$";
    delete local @ENV{qw(EVENTSOURCE_RUNTIME_DIR XDG_RUNTIME_DIR)};
    my @first = (name => $name, timeout => $DEADLINE, autostart => 1);
    my $hub   = EventSource::Hub::Process->connect(@first);
    {
        local $ENV{XDG_RUNTIME_DIR} = my $session = new_folder;
        my $later = EventSource::Hub::Process->connect(@first);
        is $later->pid,                                                   $hub->pid, 'a job finds it';
        is scalar(grep { $_ eq $name } EventSource::Hub::Process->names), 1,         'and lists it once';
        my $worker = EventSource::Hub->new(name => $name, idle_exit => 1);
        $worker->publish(news => 'hello');
        is $later->stats->{published}, 1, 'it has what a worker publishes';
        ok !-e "$session/eventsource/$name.sock", 'no other one is started';
    }
    $hub->stop;
    unlink map { glob "$_/$name.sock.*" } EventSource::Hub::Process->_call('folders');
};

subtest 'run serves in the foreground until it is stopped' => sub {
    my $run = $shell->start(qw(hub run front --idle-exit 60));
    ok wait_until($DEADLINE, sub { $shell->run(qw(hub list))->{out} =~ /^front\t/m }), 'it serves' or diag $run->log;
    is $shell->connect('front', autostart => 0)->pid, $run->pid, 'in the process of the command';
    kill TERM => $run->pid;
    ok wait_until($DEADLINE, sub { $run->has_ended }), 'TERM ends it';
    is $run->stop, 0, 'with 0';
};

subtest 'run takes over from a process that a command has started in its place' => sub {
    my $http = 'unix:' . $shell->folder . '/http';
    my $run  = $shell->start(qw(hub run proxied --http), $http);
    ok wait_until($DEADLINE, sub { $shell->run(qw(hub check proxied --running))->{code} == 0 }), 'it runs';
    kill KILL => $run->pid;
    $run->stop;
    is $shell->run(qw(publish --hub proxied news x))->{code}, 0, 'a command starts another process';
    my $check = $shell->run(qw(hub check proxied --running));
    is $check->{code}, 1, 'which is red';
    like $check->{err}, qr{: nobody serves --http \Q$http\E, which hub run was given}, 'with a sentence';
    my $hub = $shell->connect('proxied');
    local $ENV{EVENTSOURCE_RUNTIME_DIR} = $shell->folder;
    like +EventSource::XS::Hub::Admin::Look->new(name => 'proxied')->take($hub)->{trouble}, qr/nobody serves --http/,
        'as does the admin page';
    $run = $shell->start(qw(hub run proxied --http), $http);
    ok wait_until($DEADLINE, sub { $shell->run(qw(hub check proxied --running))->{code} == 0 }), 'run takes over'
        or diag $run->log;
    is $shell->connect('proxied')->pid,           $run->pid, 'as the hub process';
    is $shell->run(qw(hub stop proxied))->{code}, 0,         'stop';
};

subtest 'stats' => sub {
    my $worker = $shell->connect('test');
    $worker->publish(news => "event $_") for 1 .. 3;
    my $stats = $json->decode($shell->run(qw(stats --hub test --json --channel news))->{out});
    is_deeply [@$stats{qw(pid epoch published subscribers workers)}], [$worker->pid, $worker->epoch, 3, 0, [$$]],
        'an object has process, counts and workers';
    is $stats->{history}{events}, 3, 'and the history';
    my %text = $shell->run(qw(stats --hub test))->{out} =~ /^([a-z_.]+)\t(.*)$/mg;
    is_deeply [@text{qw(published history.events slow.gap workers)}], [3, 3, 0, $$], 'lines have the same';
    ok !exists $text{subscribers}, 'without subscribers if no channel is given';

    my $watch = $shell->start(qw(stats --hub test --json --watch 0.01));
    ok wait_until($DEADLINE, sub { ($watch->log =~ tr/\n//) > 3 }), '--watch prints again and again';
    kill INT => $watch->pid;
    ok wait_until($DEADLINE, sub { $watch->has_ended }), 'until a signal';
    is $watch->stop, 0, 'with 0';
};

subtest 'channels' => sub {
    my $worker = $shell->connect('test');
    $worker->publish("list/$_"     => $_) for 1 .. 9000;    # the list comes in parts
    $worker->publish("odd\n\tname" => 'ü');
    my @lines = split /\n/, $shell->run(qw(channels --hub test))->{out};
    is scalar @lines, 9002, 'all are listed';
    my %seen;
    ok !(grep { $seen{$_}++ } @lines), 'each once';
    is_deeply [grep { /odd/ } map { (split /\t/)[0] } @lines], ['odd\\n\\tname'], 'a name is one field';
    my @some = split /\n/, $shell->run('channels', '--hub', 'test', '--match', 'list/123*', '--json')->{out};
    is scalar @some, 11, '--match selects';
    my ($one) = grep { $_->{name} eq 'list/123' } map { $json->decode($_) } @some;
    is_deeply [@$one{qw(events subscribers)}], [1, 0], 'with counts';
    is $one->{last_id}, $worker->epoch . '-126', 'and the last id';
    my $oldest = $shell->run(qw(channels --hub test --match list/123 --oldest))->{out};
    like $oldest, qr/\t\Q${\$worker->epoch}\E-126\t\d+\.\d+$/, '--oldest adds the oldest event that is still there';
    ($oldest) = map { $json->decode($_)->{oldest} }
        $shell->run(qw(channels --hub test --match list/123 --oldest --json))->{out};
    is $oldest->{id}, $worker->epoch . '-126', 'as an object with --json';
    my $head = $shell->run('channels', '--hub', 'nobody', '--timeout', '0.2');
    is $head->{code}, 3, 'no hub: 3';
};

subtest 'members' => sub {
    local $ENV{EVENTSOURCE_RUNTIME_DIR} = $shell->folder;
    my $worker  = EventSource::Hub->new(name => 'test');
    my @members = (
        {id => 'ann',  channel => 'people', json => {name => "\x{e9}"}},
        {id => "b\tb", channel => 'people', data => 'text'},
    );
    my @streams = map { Testing::Subscriber->open($worker, 'news', {member => $_}) } @members;
    my @lines   = split /\n/, $shell->run(qw(members --hub test people))->{out};
    like $lines[0], qr/\Aann\t1\t[0-9.]+\t\{"name":"\xc3\xa9"\}\z/, 'a member with JSON';
    like $lines[1], qr/\Ab\\tb\t1\t[0-9.]+\ttext\z/,                'one with a text';
    my ($ann) = map { $json->decode($_) } split /\n/, $shell->run(qw(members --hub test people --json))->{out};
    is_deeply [@$ann{qw(id json streams)}], ['ann', {name => "\x{e9}"}, 1], '--json';
    is $shell->run(qw(members --hub test nobody))->{out}, '', 'a channel with nobody';
    like $shell->run(qw(stats --hub test))->{out}, qr/^members[.]here\t2\nmembers[.]refused\t0$/m, 'stats counts them';
    is $shell->run(qw(members --hub test))->{code}, 2, 'no channel: 2';
    $_->conn->close for @streams;
};

subtest 'end' => sub {
    my $tail = $shell->start(qw(tail --hub test --raw news));
    my $hub  = $shell->connect('test');
    ok wait_until($DEADLINE, sub { $hub->stats->{open} == 1 }), 'a stream';
    is_deeply [@{$shell->run(qw(end --hub test --label user/7))}{qw(code out)}], [0, "0\n"], 'no stream has the label';
    is_deeply [@{$shell->run(qw(end --hub test --topic ne* --finish))}{qw(code out)}], [0, "1\n"], 'one has the topic';
    ok wait_until($DEADLINE, sub { $tail->log =~ /^id: eventsource-finished$/m }),
        'its client is told not to come back';
    $tail->stop;
    my $done = $shell->run(qw(end --hub test));
    is $done->{code}, 2, 'which streams?';
    like $done->{err}, qr/--label LABEL or --topic TOPIC/, 'says what is missing';
    is $shell->run(qw(end --hub nobody --label a --timeout 0.2))->{code}, 3, 'no hub: 3';
};

subtest 'drain ends streams' => sub {
    my $tail = $shell->start(qw(tail --hub test --raw news));
    my $hub  = $shell->connect('test');
    ok wait_until($DEADLINE, sub { $hub->stats->{open} == 1 }), 'a stream';
    is $shell->run(qw(hub drain test))->{code},            2, 'drain needs a time';
    is $shell->run(qw(hub drain test --within 0))->{code}, 0, 'drain';
    ok wait_until($DEADLINE, sub { $tail->log =~ /^retry: [0-9]+$/m }), 'the client is told when to come back';
};

subtest 'stop waits for a stream whose client does not read' => sub {
    my $hub    = $shell->connect('slow');
    my $stream = $hub->follow('news');
    $hub->publish(news => 'x' x 10_000) for 1 .. 60;
    ok $hub->stats->{buffered} > 0, 'events are buffered for it';
    my $done = $shell->run(qw(hub stop slow));
    is_deeply [@$done{qw(code err)}], [0, ''], 'stop reports no failure';
    ok wait_until($DEADLINE, sub { !kill 0 => $hub->pid }), 'the process ends';
};

# The addresses of a process, which its program draws when it begins.
sub memory_of {
    my $pid = shift;
    return (split /\n/, slurp("/proc/$pid/maps"))[0];
}

subtest 'upgrade continues in the same process' => sub {
    my $hub = $shell->connect('upgraded');
    $hub->publish(news => 'before');
    my $before = memory_of($hub->pid);
    my $done   = $shell->run(qw(hub upgrade upgraded));
    is_deeply [@$done{qw(code err)}], [0, ''], 'done';
    like $done->{out}, qr/\Acontinues as .*eventsource-hub: 0 streams stay, 0 clients reconnect\n\z/,
        'with the line of the log';
    my $after = $shell->connect('upgraded', autostart => 0);
    is $after->pid, $hub->pid, 'it is the same process';
    is_deeply [map { $_->{data} } $after->history('news')], ['before'], 'with what it had';
    isnt memory_of($hub->pid), $before, 'as a program that was started anew';
    my $nobody = $shell->run(qw(hub upgrade nobody --timeout 0.2));
    is $nobody->{code}, 3, 'no hub: 3';
    like $nobody->{err}, qr/\Aeventsource hub: no process serves the hub nobody/, 'with the reason';
    is $shell->run(qw(hub upgrade a/b))->{code}, 2, 'a name that is none: 2';
};

# A proxy that changes the version of the protocol in each greeting, so that the hub answers as it does to another version.
sub other_version {
    my ($socket, $path) = @_;
    my $listener = IO::Socket::UNIX->new(Local => $path, Listen => 5) or die "$path: $!\n";
    defined(my $pid = fork) or die "fork: $!\n";
    return $pid if $pid;
    while (my $client = $listener->accept) {
        my $hub = IO::Socket::UNIX->new(Peer => $socket) or last;
        sysread $client, my $hello, 65_536;
        substr $hello, 13, 2, pack 'v', 1 + unpack 'v', substr $hello, 13, 2; # after the length, the kind and the magic
        syswrite $hub, $hello;
        sysread $hub, my $answer, 65_536;
        syswrite $client, $answer;
    }
    return POSIX::_exit(0);
}

subtest 'another version of the protocol is refused' => sub {
    my $hub    = $shell->connect('test');
    my @place  = (name => 'test', socket => $shell->folder . '/other');
    my $pid    = other_version($shell->folder . '/test.sock', $place[-1]);
    my %called = (
        connect => sub { EventSource::Hub::Process->connect(@place, autostart => 0) },
        publish => sub { EventSource::Hub->new(@place, autostart => 0)->publish(news => 'x') },
    );
    for my $name (sort keys %called) {
        ok !eval { $called{$name}->(); 1 }, "$name fails";
        is_deeply [$@->code, $@->field], ['refused', undef], 'with the code refused';
        like $@, qr/version [0-9]+ .*eventsource hub upgrade test/, 'and the remedy';
    }
    for (
        [5, qw(publish --hub test news x)],
        [5, qw(forget --hub test news key)],
        [5, qw(tail --hub test --last 1 news)],
        [5, qw(stats --hub test)],
        [5, qw(channels --hub test)],
        [5, qw(members --hub test people)],
        [5, qw(end --hub test --label x)],
        [5, qw(hub drain test --within 1)],
        [5, qw(hub start test)],
        [1, qw(hub check test)],
    ) {
        my ($code, @command) = @$_;
        my $done = $shell->run(@command, '--socket', $place[-1]);
        is $done->{code}, $code, "@command: the exit code";
        like $done->{err}, qr/this hub process speaks version .*eventsource hub upgrade/, 'the reason and the remedy';
    }
    kill KILL => $pid;
    waitpid $pid, 0;
};

subtest 'help and version' => sub {
    like $shell->run('--version')->{out}, qr/\Aeventsource [0-9.]+\n\z/, '--version';
    like $shell->run('--help')->{out},    qr/Publish|publish.*tail/s,    '--help';
    for my $command (qw(publish tail stats channels members end hub)) {
        my $done = $shell->run($command, '--help');
        is $done->{code}, 0, "$command --help";
        like $done->{out}, qr/eventsource \Q$command\E/, 'has its examples';
        my @others = grep { $_ ne $command } qw(publish tail stats channels members end hub);
        unlike $done->{out}, qr/^\s*eventsource (?:@{[join '|', @others]}) --hub shop/m, 'and not those of others';
    }
    for my $case ([['fly'], qr/unknown command fly/], [[], qr/which command/], [['hub'], qr/run, start/]) {
        my ($arguments, $message) = @$case;
        my $done = $shell->run(@$arguments);
        is $done->{code}, 2, "eventsource @$arguments";
        like $done->{err}, $message, 'says what is wrong';
    }
};

done_testing;
