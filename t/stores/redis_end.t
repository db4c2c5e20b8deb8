# Two machines with one Redis: streams end on both, whichever was asked, after what was published before and before what is
# published after. A machine whose Redis is away ends its own streams at once.

use lib 't/lib';
use Testing qw(Machine Redis);
use EventSource::Hub::Process;
use Testing::RoamingClient;

my $redis    = Testing::Redis->start;
my @machines = map { Testing::Machine->start({redis => $redis->url}, publish_timeout => 1) } 1, 2;

# Opens a stream that does not come back by itself.
sub stream {
    my ($machine, %topics) = @_;
    return Testing::Client->stream($machine->port, Testing::Machine->path_of(%topics));
}

subtest 'a label means the streams of all machines' => sub {
    my @meant  = map { stream($_, channels => 'news', labels => 'user/7') } @machines;
    my @others = map { stream($_, channels => 'news', labels => 'user/8') } @machines;
    $machines[0]->publish(news => 'before');
    is $machines[0]->ask('/end', label => 'user/7'), 1, 'the number is that of the machine';
    $machines[0]->publish(news => 'after');
    for my $client (@meant) {
        ok $client->read_all, 'a stream ends';
        like $client->text, qr/^data: before\n/m, 'it was sent what was published before';
        like $client->text, qr/^retry: [0-9]+\n(?:(?:data: \n)?(?:id: .*\n)?\n)?\z/m, 'and at last a retry';
    }
    ok $_->read_until(qr/^data: after\n/m), 'a stream with another label reads on' for @others;
    is $machines[1]->ask('/end', label => 'user/8', finish => 1), 1, 'the other machine is asked';
    for my $client (@others) {
        ok $client->read_all, 'a stream ends';
        like $client->text, qr/^id: eventsource-finished\n\n\z/m, 'for good';
    }
};

subtest 'later clients and a hub that begins anew see the earlier ends' => sub {
    my $roaming = Testing::RoamingClient->open($machines[1], channels => 'news', labels => 'user/7');
    $machines[0]->ask('/end', label => 'user/7');
    my @ids = map { $machines[0]->publish(news => $_) } 1, 2;
    ok $roaming->has(2), 'a client that comes back reads on';
    is $roaming->gaps, 0, 'without a gap';
    $machines[1]->kill_hub;
    push @ids, $machines[0]->publish(news => 3);
    ok $roaming->has(3), 'also when its hub was killed: the history has the request';
    is_deeply [map { $_->{id} } $roaming->events], \@ids, 'it has each event once';
    is $roaming->gaps, 0, 'without a gap';
};

subtest 'a request is the newest entry when a hub begins' => sub {
    $machines[0]->ask('/end', label => 'nobody');
    $machines[1]->kill_hub;
    my $first = stream($machines[1], channels => 'news');
    my ($id)  = $first->text =~ /^id: (.+)$/m;
    my $path  = Testing::Machine->path_of(channels => 'news');
    for my $machine (@machines) {
        my $client = Testing::Client->stream($machine->port, $path, headers => ['Last-Event-ID' => $id]);
        unlike $client->text, qr/gap/, 'its number is known on each machine';
    }
    $_->publish(news => 'more') for @machines;
    for my $machine (@machines) {
        my $client = Testing::Client->stream($machine->port, $path, headers => ['Last-Event-ID' => $id]);
        ok $client->read_until(qr/data: more\n(?:.*\n)*?\n(?:.*\n)*data: more/), 'also later';
        unlike $client->text, qr/gap/, 'without a gap';
    }
};

subtest 'Redis is away' => sub {
    my $client = stream($machines[0], channels => 'news', labels => 'user/7');
    $redis->kill;
    like $machines[0]->ask('/end', label => 'user/7'), qr/\Aerror /, 'the caller is told that others do not know of it';
    ok $client->read_all, 'the streams of the machine end all the same';
    my $command = EventSource::Hub::Process->connect($machines[0]->place, timeout => 0.2);
    ok !eval { $command->end(label => 'user/7'); 1 }, 'a command that waits for less than the hub fails, too';
    is $@->code, 'unknown', 'with the code';
    like $@, qr/the streams of this machine have ended.*the store is down/, 'and says that the store is down';
};

$_->end_ok for @machines;

done_testing;
