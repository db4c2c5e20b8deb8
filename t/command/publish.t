# eventsource publish: events from arguments and standard input, ids, and what goes wrong.

use lib 't/lib';
use Testing;
use Testing::CommandLine;
use IO::Handle          ();
use IPC::Open2          qw(open2);
use JSON::PP            ();
use Testing::SourceTree qw(slurp);

my $ID = qr/[0-9a-v]{8}-[0-9]+/;

my $shell = Testing::CommandLine->new;
my $json  = JSON::PP->new->utf8;

$shell->run(qw(hub start test));

sub publish { return $shell->run(ref $_[0] ? shift : (), 'publish', '--hub', 'test', @_) }

# The events of a channel, as tail prints them.
sub events_of {
    my $channel = shift;
    my $done    = $shell->run(qw(tail --hub test --from-start --json --timeout 0.5), $channel);
    return map { $json->decode($_) } split /\n/, $done->{out};
}

sub data_of {
    return map { $_->{data} } events_of(@_);
}

subtest 'each argument is an event, and each id a line' => sub {
    my $done = publish('arguments', 'one', "two\nlines", 'drei ü');
    is $done->{code}, 0,  'exit code 0';
    is $done->{err},  '', 'no message';
    like $done->{out}, qr/\A$ID\n$ID\n$ID\n\z/, 'three ids';
    my @events = events_of('arguments');
    is_deeply [map { $_->{data} } @events], ['one', "two\nlines", 'drei ü'], 'the data';
    is join('', map { "$_->{id}\n" } @events), $done->{out}, 'the ids are those of the events';
};

subtest 'options are fields of the event' => sub {
    is publish(qw(fields --event order --id mine --key k --retry 100 x))->{code}, 0, 'published';
    my ($event) = events_of('fields');
    is_deeply [@$event{qw(event id data channel)}], [qw(order mine x fields)], 'type, id, data and channel';
};

subtest 'standard input is the data of one event, or of one event a line' => sub {
    publish(\"a\nb\n", 'input', '-');
    is_deeply [data_of('input')], ["a\nb\n"], 'the whole input';
    like publish(\"a\n\nb\r\nlast", qw(lines --lines))->{out}, qr/\A(?:$ID\n){4}\z/, 'four lines, one without its end';
    is_deeply [data_of('lines')], ['a', '', 'b', 'last'], 'each is an event';
    publish(\"a\n\n\n", qw(blank --lines));
    is_deeply [data_of('blank')], ['a', '', ''], 'blank lines at the end, too';
};

subtest 'a line is published when it comes, not at the end of the input' => sub {
    local $ENV{EVENTSOURCE_RUNTIME_DIR} = $shell->folder;
    my $pid = open2(my $out, my $in, $^X, '-Mblib', 'bin/eventsource', qw(publish --hub test --lines prompt));
    $in->autoflush(1);
    my @lines = ('first', '', '', 'last', '');
    for my $line (@lines) {
        print {$in} "$line\n";
        alarm $DEADLINE;
        like scalar(readline $out), qr/\A$ID\n\z/, "'$line' has its id while the input is open";
        alarm 0;
    }
    close $in;
    waitpid $pid, 0;
    is $?, 0, 'exit code 0';
    is_deeply [data_of('prompt')], \@lines, 'a blank line is an event, too';
};

subtest 'a line of --json-lines has the fields of an event' => sub {
    my $lines = <<'LINES';
{"channel":"json","event":"a","data":"plain"}

{"json":{"b":[1,"ü"]},"id":"own","key":"k","retry":10}
LINES
    utf8::encode($lines);
    my $done = publish(\$lines, qw(--json-lines json));
    is_deeply [@$done{qw(code err)}], [0, ''], 'done';
    my @events = events_of('json');
    is $events[0]{event}, 'a', 'the type';
    is_deeply $json->decode(
        do { utf8::encode(my $data = $events[1]{data}); $data }
        ),
        {b => [1, 'ü']}, 'json is data';
    is $events[1]{id}, 'own', 'an id';

    $lines = '{"json":{"n":[12345678901234567890123, 1.10]},"id":12345678901234567890123}';
    publish(\$lines, qw(--json-lines numbers));
    my ($numbers) = events_of('numbers');
    is_deeply [@$numbers{qw(id data)}], ['12345678901234567890123', '{"n":[12345678901234567890123, 1.10]}'],
        'numbers have all of their digits';
};

subtest 'a line that is wrong or refused is reported, and the others are published' => sub {
    my $lines = join "\n", '{"data":"1"}', 'no', '[]', '{"dat":1}', '{"data":"2","event":"gap"}',
        '{"data":"3","id":"a\\nb"}',
        '{"data":"4","channel":"other"}', '';
    my $done = publish(\$lines, qw(--json-lines mixed));
    is $done->{code}, 5, 'exit code 5';
    my %message = $done->{err} =~ /^eventsource publish: line ([0-9]+): (.*)$/mg;
    like $message{2}, qr/not JSON/,                   'no JSON';
    like $message{3}, qr/not a JSON object/,          'no object';
    like $message{4}, qr/unknown field 'dat'/,        'an unknown field';
    like $message{5}, qr/name of the hub's event/,    'an event that the hub refuses';
    like $message{6}, qr/id must not contain a line/, 'a field that is wrong';
    is_deeply [data_of('mixed'), data_of('other')], [1, 4], 'the others are published';
};

subtest 'an event with the same --once is published once' => sub {
    my @ids = map { publish(qw(once --once order-7 x))->{out} } 1 .. 2;
    is $ids[1], $ids[0], 'the same id';
    is_deeply [data_of('once')], ['x'], 'one event';
};

subtest 'forms of the output' => sub {
    is publish(qw(quiet --quiet x))->{out},   '', '--quiet prints nothing';
    is publish(qw(quiet --no-wait x))->{out}, '', '--no-wait neither';
    my $object = $json->decode(publish(qw(quiet --objects x))->{out});
    is $object->{channel}, 'quiet', 'an object has the channel';
    like $object->{id}, qr/\A$ID\z/, 'and the id';
    is_deeply [data_of('quiet')], [qw(x x x)], 'all are published';
};

subtest 'without a hub process' => sub {
    my $done = $shell->run(qw(publish --hub nobody --no-autostart --timeout 0.2 news x));
    is $done->{code}, 3, 'exit code 3';
    like $done->{err}, qr/\Aeventsource publish: no process serves the hub nobody/, 'the reason';
    is $shell->run(qw(publish --hub a/b news x))->{code}, 2, 'a name that is none: 2';
    is $shell->run(qw(publish news x))->{code},           2, 'no name: 2';
    local $ENV{EVENTSOURCE_HUB} = 'test';
    is $shell->run(qw(publish news x))->{code}, 0, 'EVENTSOURCE_HUB is the hub';
};

subtest 'ten thousand lines are published in their order' => sub {
    my $lines = join '', map { qq({"data":"$_"}\n) } 1 .. 10_000;
    my $done  = publish(\$lines, qw(many --json-lines));
    my @seqs  = $done->{out} =~ /-([0-9]+)$/mg;
    is scalar @seqs, 10_000, 'each has an id';
    is_deeply \@seqs, [sort { $a <=> $b } @seqs], 'in the order of the lines';
    is(($shell->connect('test')->history('many', last => 1))[0]{data}, 10_000, 'the last one is the last event');
};

# Begins to publish, and kills the hub process when the command has connected. Returns the number of ids, the exit code
# and the message.
sub killed_between {
    my ($before, $after, $last, @arguments) = @_;
    local $ENV{EVENTSOURCE_RUNTIME_DIR} = $shell->folder;
    my $hub    = $shell->connect('test');
    my $errors = File::Temp->new;
    open my $saved, '>&', \*STDERR          or die "$!\n";
    open STDERR,    '>',  $errors->filename or die "$!\n";
    my $pid = open2(my $out, my $in, $^X, '-Mblib', 'bin/eventsource', qw(publish --hub test), @arguments);
    open STDERR, '>&', $saved or die "$!\n";
    $in->autoflush(1);
    print {$in} $before;
    my @ids = length $before ? scalar readline $out : ();
    wait_until $DEADLINE, sub {
        grep { $_ == $pid } @{$hub->stats->{workers}};
    } or diag 'it does not connect';
    local $SIG{PIPE} = 'IGNORE';
    if (length $last) {
        kill STOP => $hub->pid;
        print {$in} $after;
        my $has_said = sub { -s $errors->filename };
        wait_until($DEADLINE, $has_said) or diag 'it does not give up waiting for the answer';
    }
    kill KILL => $hub->pid;
    my $is_killed = sub {
        !eval { $hub->stats }
    };
    wait_until($DEADLINE, $is_killed) or diag 'the process is not killed';
    print {$in} length $last ? $last : $after;
    close $in;
    push @ids, readline $out;
    waitpid $pid, 0;
    my ($message) = slurp($errors->filename) =~ /^(eventsource.*)/m;
    return (scalar(grep { /\A$ID\n\z/ } @ids), $? >> 8, $message // '');
}

subtest 'lines outlive the hub process' => sub {
    my $long = 'x' x 1000 . "\n";
    for my $case (
        ['a line'                              => "first\n", "second\n", 2,  qw(--lines killed)],
        ['lines that are sent before all read' => "first\n", $long x 60, 61, qw(--lines killed)],
        [
            'objects' => qq({"data":"first"}\n),
            qq({"data":"second"}\n) x 3_000,
            3_001, qw(--json-lines killed)
        ],
    ) {
        my ($name, $before, $after, $count, @arguments) = @$case;
        my ($ids, $code, $message) = killed_between($before, $after, '', @arguments);
        is $ids,  $count, "$name: each line is published";
        is $code, 0,      'exit code 0' or diag $message;
    }
};

subtest 'lines that were perhaps published are reported, and those after them are published' => sub {
    my @timeout = qw(--timeout 0.5);
    my ($ids, $code, $message) = killed_between("first\n", "second\nthird\n", "last\n", @timeout, qw(--lines killed));
    is $ids,  2, 'the first and the last line have an id';
    is $code, 4, 'exit code 4';
    like $message, qr/: the hub has not answered: 2 events were perhaps published, from line 2 on$/, 'the reason';
};

subtest 'arguments: no exit code says that nothing was done' => sub {
    my ($ids, $code, $message) = killed_between('', 'x' x 60_000, '', qw(killed - second third));
    is $code, 4, 'exit code 4';
    like $message, qr/\Aeventsource publish: the hub has not answered: [0-9]+ events? w/, 'the reason';
};

subtest 'an argument that is too long does not hide the ids of others' => sub {
    my $done = publish(\('x' x 20_000_000), qw(long one -));
    is $done->{code}, 5, 'exit code 5' or diag $done->{err};
    like $done->{out}, qr/\A$ID\n\z/, 'the id of the other one';
};

done_testing;
