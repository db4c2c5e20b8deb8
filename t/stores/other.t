# A hub gets another store: memory first, then a file or Redis. The hub process has to begin anew, and its history is not
# carried over. So each client receives one gap; then it receives everything, and misses nothing any more.

use lib 't/lib';
use Testing;
use File::Temp ();
use Testing::Machine;
use Testing::Redis;
use Testing::RoamingClient;

Testing::Machine->require_or_skip_all;

# Moves a hub from memory to a store, and then restarts it with that store.
sub moves_ok {
    my ($kind, $store) = @_;
    my $machine = Testing::Machine->start(undef);
    my $stays   = Testing::RoamingClient->open($machine, channels => 'news');
    my $away    = Testing::RoamingClient->open($machine, channels => 'news');
    my ($epoch) = $machine->publish(news => 'in memory') =~ /\A(\w+)-/;
    ok $_->has('in memory'), 'a client receives an event' for $stays, $away;
    is $machine->stats->{store}{kind}, 'memory', 'there is no store';
    $away->leave;

    my @stored;
    for my $round (1, 2) {
        $machine->restart(store => $store);
        is $machine->stats->{store}{kind}, $kind, "$round: the hub has a store" if $round == 1;
        ok $stays->has_gaps(1), "$round: the client receives a gap, without a new event";
        push @stored, $machine->publish_at_last(news => "stored $round", once => "stored $round");
        ok $stays->has("stored $round"), "$round: it receives what is published then";
        is $stays->gaps, 1, "$round: it was told once";
    }
    isnt + ($stored[0] =~ /\A(\w+)-/)[0], $epoch, 'the ids have another epoch';
    is_deeply [map { $_->{id} } $stays->events], ["$epoch-1", @stored], 'the client has each event once and in order';

    $away->move($machine);
    ok $away->has_gaps(1), 'a client that was away receives a gap when it comes back';
    $machine->publish(news => 'last');
    ok $_->has('last'), 'a client receives what is published then' for $stays, $away;
    is $_->gaps, 1, 'and received one gap in all' for $stays, $away;
    is_deeply [$away->data], ['in memory', 'last'], 'the one that was away has nothing twice';
    $_->leave for $stays, $away;
    $machine->end_ok;
    return;
}

subtest 'from memory to a file' => sub {
    my $folder = File::Temp->newdir;
    moves_ok(file => {file => "$folder/events.db"});
};

subtest 'from memory to Redis' => sub {
    Testing::Redis->require_or_skip_all;
    my $redis = Testing::Redis->start;
    moves_ok(redis => {redis => $redis->url});
};

done_testing;
