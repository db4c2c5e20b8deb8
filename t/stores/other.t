# A hub gets another store, by a deployment that stops the hub process or by one that does not, whatever is the first call. Each
# client receives one gap; then it receives everything, and misses nothing any more. No client receives an event twice, or one
# of before as a new one.

use lib 't/lib';
use Testing;
use EventSource::Hub::Process;
use File::Temp        ();
use Testing::Deadline qw(wait_until);
use Testing::Errors   qw(error_of);
use Testing::Machine;
use Testing::Process qw(is_running);
use Testing::Redis;
use Testing::RoamingClient;
use Testing::StoredHub;
use Testing::Subscriber;

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

# The rest is done by objects of this process, as workers of the deployments before and after do it.

my $HAD = 20;    # events of before

my $folder = File::Temp->newdir;
my $redis  = !Testing::Redis->missing && Testing::Redis->start;
my $number = 0;

# A new store of a kind.
sub store_of {
    my $kind = shift;
    $number++;
    return {file => {file => "$folder/$number.db"}, redis => {redis => $redis && $redis->url, prefix => "s$number"}}
        ->{$kind}
        || $kind;
}

sub kinds {
    return grep { $_ ne 'redis' || $redis } @_;
}

sub follow { my ($hub, %option) = @_; return Testing::Subscriber->open($hub, 'news', \%option) }

# The data of all events that a client has received up to one; of a gap, its reason.
sub data_up_to {
    my ($client, $last) = @_;
    wait_until(
        20,
        sub {
            grep { ($_->{data} // '') eq $last } Testing::Subscriber::wait_for_events($client->client, 1);
        }
    );
    return [$client->left];
}

my %FIRST_CALL = (
    stream  => sub { },
    publish => sub { $_[1]->publish(news => 'first') },
    command => sub {
        my $stored = shift;
        EventSource::Hub::Process->connect(name => 'shop', socket => $stored->socket, autostart => 0)
            ->publish(news => 'first');
    },
);

for my $kind (kinds(qw(file redis))) {
    for my $first (sort keys %FIRST_CALL) {
        subtest "a running hub without a store gets one, $kind; the first call is a $first" => sub {
            my $stored = Testing::StoredHub->start(undef);
            my $stays  = follow($stored->hub);
            my @had    = map { "had $_" } 1 .. $HAD;
            my @ids    = map { $stored->hub->publish(news => {data => $_, key => 'k', retain => 1}) } @had;
            is_deeply [$stays->data($HAD)], \@had, 'a client has the events';

            my $next = $stored->again(store => store_of($kind));
            $FIRST_CALL{$first}->($stored, $next);
            my $fresh = follow($next);
            my %back  = map { ($_ => follow($next, after => $ids[$_])) } 0, -1;
            is $next->stats->{store}{kind}, $kind, 'the hub has the store';
            $next->publish(news => 'last');
            is_deeply data_up_to($fresh, 'last'), ['last'], 'a new client receives what is published then';
            is_deeply data_up_to($_, 'last'), ['unknown', 'last'], 'one that comes back, too, after a gap'
                for values %back;
            my @all = (@had, $first eq 'stream' ? () : 'first', 'last');
            is_deeply data_up_to(follow($next, start => 'oldest'), 'last'),   \@all,      'the history has all, once';
            is_deeply data_up_to(follow($next, start => 'state'),  $had[-1]), [$had[-1]], 'and so has the state';
            ok $stays->client->read_all, 'the stream of before has ended';
        };
    }
}

subtest 'a store that other machines use gets only events that nobody has had' => sub {
    plan skip_all => 'no Redis' if !$redis;
    for my $were_read (0, 1) {
        my $store = store_of('redis');
        my $other = Testing::StoredHub->start($store);
        $other->hub->publish(news => 'of another machine');
        my $there  = follow($other->hub);
        my $stored = Testing::StoredHub->start(undef);
        my $client = $were_read ? follow($stored->hub) : undef;
        $stored->hub->publish(news => 'before');
        $client->data(1) if $client;
        my $next = $stored->again(store => $store);
        $next->publish(news => 'last');
        my @expected = $were_read ? 'last' : ('before', 'last');
        is_deeply data_up_to($there, 'last'), \@expected, "a client of the other machine; read: $were_read";
        is_deeply data_up_to(follow($next, start => 'oldest'), 'last'), ['of another machine', @expected],
            'and the history';
    }
};

# From a store to another one, or to none.
my @CHANGES = map {
    my $from = $_;
    map { [$from, $_] } kinds(qw(file redis memory))
} kinds(qw(file redis));

# Another store than the named one is refused as long as the process lives.
for my $row (@CHANGES) {
    my ($from, $to) = @$row;
    subtest "a running hub with a store, $from, gets another one, $to" => sub {
        my $stored = Testing::StoredHub->start(store_of($from));
        my $client = follow($stored->hub);
        $stored->hub->publish(news => 'one');
        my $next  = $stored->again(store => store_of($to));
        my %calls = (
            stream  => sub { follow($next) },
            publish => sub { $next->publish(news => 'other') },
        );
        is error_of($calls{$_}), 'refused store', "a $_ is refused" for sort keys %calls;
        $FIRST_CALL{command}->($stored);
        is_deeply data_up_to($client, 'first'), ['one', 'first'], 'clients of before notice nothing';
    };
}

# Ends the hub process, and has a job start another one, with the store that was named last.
sub begin_with_a_job {
    my ($stored, $hub) = @_;
    my $pid = $hub->stats->{process}{pid};
    kill KILL => $pid;
    wait_until(20, sub { !is_running($pid) }) or die "$pid lives\n";
    return $stored->again(store => undef);
}

my @first = sort keys %FIRST_CALL;
for my $row (@CHANGES) {
    my ($from, $to) = @$row;
    push @first, my $first = shift @first;
    subtest "a hub whose $from nobody has named in this process gets $to, and that one again; the first call: $first" =>
        sub {
        my $stored = Testing::StoredHub->start(store_of($from));
        my @had    = ('one', 'two');                                   # what the store has in the end
        my @ids    = map { $stored->hub->publish(news => $_) } @had;
        my $hub    = $stored->hub;
        for my $is_back (0, 1) {
            my $next   = $is_back ? $stored->again : $stored->again(store => store_of($to));
            my $job    = begin_with_a_job($stored, $hub);
            my $client = follow($job);
            push @ids, $job->publish(news => 'of the job');
            $client->data(1);
            $FIRST_CALL{$first}->($stored, $next);
            push @had, 'of the job', $first eq 'command' ? 'first' : () if !$is_back || "$from $to" eq 'file memory';
            push @had, 'first' if $is_back && $first eq 'publish';
            my $fresh = follow($next);
            my @back  = map { follow($next, after => $ids[$_]) } 0, -1;
            push @ids, $next->publish(news => 'last');
            is_deeply data_up_to($fresh, 'last'), ['last'], 'a new client receives what is published then';

            # A file continues only if no other history was delivered meanwhile: it may be a copy.
            my $continues = $is_back && ($from eq 'redis' || $to eq 'memory');
            my @missed    = $continues ? @had[1 .. $#had] : 'unknown';
            is_deeply data_up_to($back[0], 'last'), [@missed, 'last'], 'one with the first id receives what it missed';
            is_deeply data_up_to($back[1], 'last'), ['unknown', 'last'], 'one with the last id, too: a gap';
            ok $client->client->read_all, 'the stream of before has ended';
            $hub = $next;
        }
        };
}

done_testing;
