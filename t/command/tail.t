# eventsource tail: filters, forms, and what happens to the hub, to the reader of the output and to the command.

use lib 't/lib';
use Testing;
use Testing::CommandLine;
use EventSource::Hub::Process;
use EventSource::XS::Command::Tail;
use File::Temp ();
use JSON::PP   ();
use Testing::Server;

my $shell = Testing::CommandLine->new;
my $json  = JSON::PP->new->utf8;

sub publish {
    my ($channel, @data) = @_;
    return $shell->run('publish', '--hub', 'test', $channel, @data);
}

sub tail { return $shell->run('tail', '--hub', 'test', @_) }

# Starts a tail that follows when this returns: the hub counts its stream.
sub start_tail {
    my @arguments = @_;
    my $hub       = $shell->connect('test');
    my $before    = $hub->stats->{open};
    my $tail      = $shell->start('tail', '--hub', 'test', @arguments);
    ok wait_until($DEADLINE, sub { $hub->stats->{open} > $before }), 'a tail follows' or diag $tail->log;
    return $tail;
}

# Waits until the command has printed something.
sub prints {
    my ($tail, $pattern, $name) = @_;
    return ok wait_until($DEADLINE, sub { $tail->log =~ $pattern }), $name;
}

sub ends {
    my ($tail, $name) = @_;
    ok wait_until($DEADLINE, sub { $tail->has_ended }), $name or return diag $tail->log;
    return is $tail->stop, 0, 'with 0';
}

$shell->run(qw(hub start test));
publish('a', 1 .. 3);
publish('b/x', "tab\tand\nline\\", 'ü');
$shell->run(qw(publish --hub test --event order a 4));
publish("odd%\nname", 'odd');

subtest 'all channels, or some, from the start or the last ones' => sub {
    my @lines = split /\n/, tail(qw(--from-start --count 7))->{out};
    my @all   = map { [split /\t/] } @lines;
    is_deeply [map { $_->[4] } @all],
        [1 .. 3, 'tab\\tand\\nline\\\\', do { my $u = 'ü'; utf8::encode($u); $u }, 4, 'odd'],
        'all events in their order';
    is_deeply [map { $_->[1] } @all], [qw(a a a b/x b/x a), 'odd%\\nname'], 'with their channels';
    like $all[0][0], qr/\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}[.][0-9]{3}Z\z/, 'and the time';
    is_deeply [map { $_->[2] } @all[0, 5]], [qw(message order)], 'and their types';
    my @ids = map { $_->[3] } @all;

    my @cases = (
        [[qw(a)]                     => '1 2 3 4'],
        [['b/*']                     => "tab\tand\nline\\ ü"],
        [['--channel', "odd%\nname"] => 'odd'],
        [['a', '--last', 2] => '3 4', 'last'],
        [['--after', $ids[4]] => '4 odd', 'after'],
        [[qw(--event order)]            => '4'],
        [[qw(--match ^[13]$)]           => '1 3'],
        [[qw(--match ^[13]$ --count 1)] => '1'],
    );

    for my $case (@cases) {
        my ($arguments, $expected, $has_start) = @$case;
        my $done = tail(@$arguments, $has_start ? () : '--from-start', qw(--data --timeout 0.5));
        utf8::encode($expected);
        is join(' ', split /\n(?!line)/, $done->{out}), $expected, "@$arguments";
    }
};

subtest 'forms' => sub {
    my ($event) = map { $json->decode($_) } tail(qw(b/x --last 1 --json --count 1))->{out};
    like delete $event->{time}, qr/Z\z/,  'the time';
    like delete $event->{id},   qr/-5\z/, 'the id';
    is_deeply $event, {channel => 'b/x', event => 'message', data => 'ü'}, 'channel, type and data';
    like tail(qw(a --last 1 --raw --timeout 0.5))->{out}, qr/^event: order\ndata: 4\nid: .*-6\n\n/m,
        '--raw has the bytes';
};

subtest 'too few events within the time end with 1' => sub {
    is tail(qw(a --count 1 --timeout 0.2))->{code}, 1, 'none of one';
    is tail(qw(a --timeout 0.2))->{code},           0, 'no number: 0';
};

subtest 'new events are printed as they come, until a signal' => sub {
    for my $signal (qw(INT TERM)) {
        my $tail = start_tail('live');
        publish('live', "before $signal");
        prints($tail, qr/\tbefore $signal\n/, 'an event is printed');
        kill $signal => $tail->pid;
        ends($tail, "$signal ends it");
    }
};

subtest 'a channel without an event may be misspelt' => sub {
    publish('orders', 'one');
    my %tail = map { ($_ => start_tail($_)) } qw(ordres *es/1 a);
    prints(
        $tail{ordres},
        qr/^eventsource tail: nothing was published to ordres so far; did you mean orders\?; the hub has .*a, b\/x, /m,
        'the channels of the hub are named'
    );
    prints($tail{'*es/1'}, qr/^eventsource tail: nothing was published to \*es\/1 so far; /m, 'a pattern, too');
    kill TERM => $_->pid for values %tail;
    ends($tail{$_}, "$_ ends") for sort keys %tail;
    unlike $tail{a}->log, qr/eventsource tail/, 'a channel with events is not named';
};

subtest 'the command ends when nobody reads its output, although no event comes' => sub {
    local $ENV{EVENTSOURCE_RUNTIME_DIR} = $shell->folder;
    my $pid = open my $out, '-|', $^X, '-Mblib', 'bin/eventsource', qw(tail --hub test --last 1 a);
    like scalar(readline $out), qr/\t4\n\z/, 'a line is read';
    ok close $out, 'it ends with 0, like before | head -1' or diag $?;
};

subtest 'a hub that is killed' => sub {
    my $tail = start_tail('killed');
    publish('killed', 'before');
    prints($tail, qr/\tbefore\n/, 'an event before');
    kill KILL => $shell->connect('test')->pid;
    prints($tail, qr/waiting for the next one/, 'the command says that it waits');
    publish('killed', 'after');
    prints($tail, qr/^eventsource tail: gap: .*unknown/m, 'the gap is reported');
    prints($tail, qr/\tafter\n/,                          'and the events of the next process are printed');
    is scalar(() = $tail->log =~ /\tbefore\n/g), 1, 'each once';
    kill TERM => $tail->pid;
    ends($tail, 'it ends');
};

subtest 'a stream that the hub ends is resumed' => sub {
    my $tail = start_tail('resumed');
    publish('resumed', 1);
    prints($tail, qr/\t1\n/, 'an event before');
    my $id = ($tail->log =~ /(\S+)\t1\n/)[0];
    publish('resumed', 2 .. 1500);    # more than a history has
    prints($tail, qr/\t1500\n/, 'all of many events come');
    my @seen = $tail->log =~ /\tmessage\t\S+\t([0-9]+)\n/g;
    is_deeply \@seen, [sort { $a <=> $b } @seen], 'in their order';
    kill TERM => $tail->pid;
    ends($tail, 'it ends');
};

subtest 'a URL' => sub {
    my $app = File::Temp->new(SUFFIX => '.psgi');
    print {$app} <<'APP';
# Streams that end after two events, and resume.
sub {
    my $env = shift;
    return [404, ['Content-Type' => 'text/plain'], ['none']] if $env->{PATH_INFO} ne '/';
    my $id = $env->{HTTP_LAST_EVENT_ID} || 0;
    my $events = join '', map { "id: $_\ndata: number $_\n\n" } $id + 1, $id + 2;
    return [200, ['Content-Type' => 'text/event-stream'], ["retry: 10\n\n$events"]];
};
APP
    close $app;
    my $server = Testing::Server->start('HTTP::Server::PSGI', $app->filename);
    my $done   = $shell->run(qw(tail --data --count 5), $server->url('/'));
    is $done->{out},  join('', map { "number $_\n" } 1 .. 5), 'it connects again and resumes';
    is $done->{code}, 0,                                      'exit code 0';
    is $shell->run(qw(tail --after 7 --data --count 1), $server->url('/'))->{out}, "number 8\n", '--after';
    $done = $shell->run('tail', $server->url('/none'));
    is $done->{code}, 5, 'a response that is not a stream: 5';
    like $done->{err}, qr/404/, 'with its status';
    $server->stop;
    is $shell->run('tail', $server->url('/'))->{code}, 3, 'a server that is not there: 3';
};

# In this process: the connection breaks between what is asked and the answer.
subtest 'a hub process that ends while it is asked for a stream' => sub {
    publish(late => 3 .. 5);
    my ($file, $follow, $asked) = (File::Temp->new, \&EventSource::Hub::Process::follow, 0);
    no warnings 'redefine';    ## no critic (TestingAndDebugging::ProhibitNoWarnings)
    local *EventSource::Hub::Process::follow = sub {
        EventSource::Error->throw(code => 'unknown', message => 'broke') if !$asked++;
        goto &$follow;
    };
    local $ENV{EVENTSOURCE_RUNTIME_DIR} = $shell->folder;
    open my $stdout, '>&', \*STDOUT        or die "STDOUT: $!\n";
    open STDOUT,     '>',  $file->filename or die "$file: $!\n";
    my $code = eval { EventSource::XS::Command::Tail->run(qw(--hub test --last 2 --count 2 --timeout 20 --data late)) };
    open STDOUT, '>&', $stdout or die "STDOUT: $!\n";
    is_deeply [$code, $asked, readline $file], [0, 2, "4\n", "5\n"], 'the next one is asked for the same';
};

done_testing;
