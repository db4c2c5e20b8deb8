# The thread of a hub process that writes to clients ends, and with it the process. The next one begins with the store: clients
# come back, miss nothing and receive no gap, and publishes continue. A defect is the only cause there is, so its system call
# fails here.

use lib 't/lib';
use Testing            qw(Machine);
use Testing::Developer qw(needs);
use Testing::FailingCalls;
use Testing::Redis;
use Testing::RoamingClient;

needs(Testing::FailingCalls->missing);

my $WAITS  = 'epoll_wait,epoll_pwait,?epoll_pwait2';
my $folder = new_folder;

# The id of the reactor's thread in a hub process.
sub reactor {
    my $pid = shift;
    for my $task (glob "/proc/$pid/task/*") {
        open my $in, '<', "$task/comm" or next;
        return substr $task, 1 + rindex($task, q{/}) if readline($in) =~ /\Aeventsource-xs/;
    }
    die "no reactor\n";
}

sub goes_on_ok {
    my $store   = shift;
    my $machine = Testing::Machine->start($store);
    my @clients = map { Testing::RoamingClient->open($machine, channels => 'news') } 1 .. 3;
    my @ids     = $machine->publish(news => 'before', once => 'before');
    ok $_->has('before'), 'a client receives an event' for @clients;
    for my $round (1, 2) {
        my ($pid) = $machine->hubs;
        my $dead  = reactor($pid);
        my $fault = Testing::FailingCalls->begin($dead, $WAITS, 'error=EBADF:when=1');
        push @ids, $machine->publish_at_last(news => "meanwhile $round", once => "meanwhile $round");
        push @ids, $machine->publish_at_last(news => "after $round",     once => "after $round");
        ok $_->has("after $round"), 'a client receives what is published then' for @clients;
        is $fault->end,             1,    'the reactor could not wait';
        isnt + ($machine->hubs)[0], $pid, 'there is another process';
    }
    is_deeply [map { $_->{id} } $_->events], \@ids,     'everything, once and in order' for @clients;
    is_deeply [map { $_->gaps } @clients],   [0, 0, 0], 'without a gap';
    is $machine->publish(news => 'again', once => 'before'), $ids[0], 'keys are remembered';
    $_->leave for @clients;
    $machine->end_ok;
    return;
}

subtest 'a store in a file' => sub { goes_on_ok({file => "$folder/events.db"}) };
subtest 'a store in Redis'  => sub {
    my $redis = Testing::Redis->start_or_skip_all;
    goes_on_ok({redis => $redis->url});
};

done_testing;
