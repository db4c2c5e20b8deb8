# The state on the command line: publish --retain, forget, tail --from-state, and the counts.

use lib 't/lib';
use Testing;
use Testing::CommandLine;
use EventSource::Hub;
use JSON::PP ();

my $ID = qr/[0-9a-v]{8}-[0-9]+/;

my $shell = Testing::CommandLine->new;
my $json  = JSON::PP->new->utf8;

# The process begins with these settings.
{
    local $ENV{EVENTSOURCE_RUNTIME_DIR} = $shell->folder;
    EventSource::Hub->new(name => 'test', keep_history => {events => 2}, keep_state => {keys => 3})->epoch;
}

sub publish { return $shell->run(ref $_[0] ? shift : (), 'publish', '--hub', 'test', @_) }
sub forget { return $shell->run('forget', '--hub', 'test', @_) }

# What tail prints of a channel that it follows from the state on: type and data, separated by a blank.
sub state_of {
    my $channel = shift;
    my $done    = $shell->run(qw(tail --hub test --from-state --json --timeout 0.5), $channel);
    return map { "$_->{event} $_->{data}" } map { $json->decode($_) } split /\n/, $done->{out};
}

subtest 'publish --retain, and tail --from-state' => sub {
    like publish(qw(stock --retain --key), $_, $_)->{out}, qr/\A$ID\n\z/, "$_ is retained" for qw(a b);
    is publish(qw(stock --retain --key a --event price a2))->{code}, 0, 'an event replaces the one of its key';
    is publish(qw(stock --key b), 'not retained')->{code},        0, 'without --retain none is replaced';
    is publish(qw(stock),         'not retained either')->{code}, 0, 'without a key neither';
    is publish(\qq({"key":"c","data":"c1","retain":true}\n{"key":"b","data":"x","retain":false}\n),
        qw(stock --json-lines))->{code}, 0, 'a line of JSON has the field retain';
    is_deeply [state_of('stock')], ['message b', 'price a2', 'message c1'], 'tail begins with the newest of each key';
};

subtest 'forget' => sub {
    my $tail = $shell->start(qw(tail --hub test --json stock));
    my $hub  = $shell->connect('test');
    ok wait_until($DEADLINE, sub { $hub->stats->{open} == 1 }), 'a tail follows';
    my $done = forget(qw(stock b));
    is $done->{code}, 0, 'a key is forgotten';
    like $done->{out}, qr/\A$ID\n\z/, 'the id of the event is printed';
    is forget(qw(stock ü --event gone --data x -q))->{out}, '', 'a key that is not there is no error; -q prints no id';
    ok wait_until($DEADLINE, sub { ($tail->log =~ tr/\n//) == 2 }), 'streams receive both' or diag $tail->log;
    my @events = map { $json->decode($_) } split /\n/, $tail->log;
    is_deeply [map { "$_->{event} $_->{data}" } @events], ['forget b', 'gone x'],
        'of the given type, with the given data';
    kill TERM => $tail->pid;
    $tail->stop;
    is_deeply [state_of('stock')], ['price a2', 'message c1'], 'the state has it no longer';
    is $hub->forget(stock => 'c') =~ /\A$ID\z/, 1, 'EventSource::Hub::Process has forget, too';
    is_deeply [state_of('stock')], ['price a2'], 'and it forgets';
};

subtest 'the form of show_channel' => sub {
    my @shows = qw(--show-channel data);
    my $hub   = $shell->connect('test', show_channel => 'data');
    my $tail  = $shell->start(qw(tail --hub test --json goods));
    ok wait_until($DEADLINE, sub { $hub->stats->{open} == 1 }), 'a tail follows';
    publish(@shows, qw(--json --retain --key a goods {"left":3.10,"id":12345678901234567890123}));
    publish(@shows, qw(goods text));
    publish(\qq({"json":[1],"key":"b","retain":true}\n), @shows, qw(goods --json-lines));
    forget(@shows, qw(goods a));
    $hub->publish(goods => {json => undef, key => 'c', retain => 1});
    $hub->forget(goods => 'c');
    publish(qw(--show-channel event goods text));
    ok wait_until($DEADLINE, sub { ($tail->log =~ tr/\n//) == 7 }), 'it receives all events' or diag $tail->log;
    my @told = map { "$_->{event} $_->{data}" } map { $json->decode($_) } split /\n/, $tail->log;
    kill TERM => $tail->pid;
    $tail->stop;
    is_deeply \@told,
        [
        'message {"channel":"goods","data":{"left":3.10,"id":12345678901234567890123},"key":"a"}',
        'message {"channel":"goods","data":"text"}',
        'message {"channel":"goods","data":[1],"key":"b"}',
        'forget {"channel":"goods","forget":true,"key":"a"}',
        'message {"channel":"goods","data":null,"key":"c"}',
        'forget {"channel":"goods","forget":true,"key":"c"}',
        'goods text',
        ],
        'of publish, forget and EventSource::Hub::Process';
    my $wrong = publish(qw(--show-channel no goods x));
    is $wrong->{code}, 2, 'another form is a mistake';
    like $wrong->{err}, qr/show_channel must be 'event' or 'data'/, 'whose message names those that there are';
};

subtest 'a tail that comes back to another process receives its state' => sub {
    my $tail = $shell->start(qw(tail --hub test --from-state --data stock));
    ok wait_until($DEADLINE, sub { $tail->log =~ /^a2$/m }), 'it prints the state';
    kill KILL => $shell->connect('test')->pid;
    ok wait_until($DEADLINE, sub { $tail->log =~ /waiting for the next one/ }), 'the hub process is killed';
    publish('stock', qw(--retain --key a), $_) for qw(a3 a4);
    ok wait_until($DEADLINE, sub { $tail->log =~ /^a4$/m }), 'it prints the state of the next one';
    like $tail->log, qr/^eventsource tail: gap: the state follows .*unknown/m, 'and says that there is a gap'
        or diag $tail->log;
    kill TERM => $tail->pid;
    ok wait_until($DEADLINE, sub { $tail->has_ended }), 'a signal ends it';
    is $tail->stop, 0, 'with 0';
};

subtest 'the counts' => sub {
    publish(qw(other --retain --key k), 'x' x 100);
    publish(qw(other),                  $_) for 1 .. 3;
    my $stats = $json->decode($shell->run(qw(stats --hub test --json))->{out});
    is $stats->{state}{keys}, 2, 'stats has the keys';
    cmp_ok $stats->{state}{bytes}, '>', 100, 'and the bytes that the history has no longer';
    like $shell->run(qw(stats --hub test))->{out}, qr/^state[.]keys\t2$/m, 'a line has them, too';
    like $shell->run(qw(channels --hub test --match other))->{out}, qr/\Aother\t0\t2\t[0-9]+\t$ID\t1\n\z/,
        'channels has the keys of each channel';
    my $channel = $json->decode($shell->run(qw(channels --hub test --match other --json))->{out});
    is $channel->{keys}, 1, 'an object, too';
};

subtest 'what does not fit ends with 5' => sub {
    is publish(qw(full --retain --key), $_, $_)->{code}, 0, "$_ fits" for 1 .. 3;
    my $done = publish(qw(full --retain --key 4 4));
    is $done->{code}, 5, 'the fourth of three keys does not';
    like $done->{err}, qr/\Aeventsource publish: .*retains at most 3 keys .*\(keep_state\)/,
        'the message names the setting';
};

subtest 'a hub that is not there, and the help' => sub {
    is $shell->run(qw(forget --hub nobody --no-autostart --timeout 0.2 a b))->{code}, 3, 'no hub: 3';
    like $shell->run(qw(forget --help))->{out}, qr/Forget a key of the state/, 'the help';
    like $shell->run(qw(--help))->{out},        qr{^  forget +forget a key}m,  'the list';
};

done_testing;
