# A hub gets another store, from each kind to each other, whatever is the first call: the application restarts with the hub
# process or without it, or workers with the new settings come beside those of before. The hub restarts. Each client receives a
# gap, and then everything; no event that was accepted is missing without a gap, and no worker fails.

use lib 't/lib';
use Testing qw(Machine);
use EventSource::Hub::Process;
use Testing::Errors  qw(error_of);
use Testing::Process qw(is_running);
use Testing::Redis;
use Testing::RoamingClient;
use Testing::Fork qw(in_child);
use Testing::StoredHub;
use Testing::Subscriber;

my $folder = new_folder;
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

# All changes of a store to another kind.
sub changes_of {
    my @kinds = kinds(@_);
    return map {
        my $from = $_;
        map { [$from, $_] } grep { $_ ne $from } @kinds
    } @kinds;
}

# Publishes numbers in another process, one after the other, until the application has restarted and answers with ids of
# another epoch than this one. Returns a function that waits for it, and returns all numbers that were accepted, and all errors.
sub publish_meanwhile {
    my ($machine, $before) = @_;
    my $ended = in_child sub {
        my ($left, @all);
        for (my $at = 1; !defined $left || $left-- > 0; $at++) {
            my $answer = $machine->publish(news => $at);
            my $epoch  = $answer =~ /\A(\w+)-/ ? $1 : undef;
            push @all, defined $epoch ? $at : $answer =~ tr/ /_/r;
            $left //= 20 if defined $epoch && $epoch ne $before;
        }
        return @all;
    };
    return sub {
        my @all = split / /, $ended->();
        return ([grep { /\A\d/ } @all], [grep { !/\A\d|unanswered/ } @all]);
    };
}

# Returns the numbers that a client misses without a gap between those that it has received.
sub missing {
    my ($client, @accepted) = @_;
    my ($gaps, $told, %received, @missing, @unseen) = (0, 0);
    for my $block ($client->blocks) {
        ($block->{event} // '') eq 'gap' ? $gaps++ : ($received{$block->{data}} = $gaps);
    }
    $received{end} = $gaps;
    for my $at (@accepted, 'end') {
        if (!defined $received{$at}) { push @unseen, $at; next }
        push @missing, @unseen if $received{$at} == $told;
        ($told, @unseen) = $received{$at};
    }
    return @missing;
}

for my $row (changes_of(qw(memory file redis))) {
    my ($from, $to) = @$row;
    subtest "an application restarts with another store: from $from to $to" => sub {
        my $machine =
            Testing::Machine->start($from eq 'memory' ? undef : store_of($from), grace => 60, idle_exit => 60);
        my $stays    = Testing::RoamingClient->open($machine, channels => 'news');
        my $away     = Testing::RoamingClient->open($machine, channels => 'news');
        my ($epoch)  = $machine->publish(news => 'before') =~ /\A(\w+)-/;
        my ($hub)    = $machine->hubs;
        my $accepted = publish_meanwhile($machine, $epoch);
        ok $_->has('before') && $_->has(1), 'a client receives events' for $stays, $away;
        $away->leave;
        $machine->deploy(store => store_of($to));
        my ($numbers, $errors) = $accepted->();
        is_deeply $errors, [], 'no worker has failed';
        is $machine->stats->{store}{kind}, $to, 'the hub has the store';
        is_deeply [$machine->hubs], [$hub], 'of the process of before';
        isnt + ($machine->publish(news => 'last') =~ /\A(\w+)-/)[0], $epoch, 'the ids have another epoch';
        $away->move($machine);

        for my $client ($stays, $away) {
            ok $client->has_gaps(1), 'a client receives a gap';
            is_deeply [missing($client, @$numbers)], [], 'and misses nothing without';
            is scalar(grep { $_ eq 'before' } $client->data), 1, 'it has nothing twice';
        }
        $machine->publish_at_last(news => 'at last', once => 1);
        ok $_->has('at last'), 'it receives what is published then' for $stays, $away;
        $machine->restart;
        ok $_->has_gaps($to eq 'memory' ? 2 : 1), 'the history of memory is lost with the process' for $stays, $away;
        $machine->publish_at_last(news => 'again', once => 2);
        ok $_->has('again'), 'also when the process has ended and begun' for $stays, $away;
        is $_->gaps, $to eq 'memory' ? 2 : 1, 'a gap for each history that is lost' for $stays, $away;
        $_->leave for $stays, $away;
        $machine->end_ok;
    };
}

# The rest is done by objects of this process, as workers of the deployments before and after do it.

my $HAD = 20;    # events of before

sub follow { my ($hub, %option) = @_; return Testing::Subscriber->open($hub, 'news', \%option) }

# The data of all events that a client has received up to one; of a gap, its reason.
sub data_up_to {
    my ($client, $last) = @_;
    wait_until 20, sub {
        grep { ($_->{data} // '') eq $last } Testing::Subscriber::wait_for_events($client->client, 1);
    };
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
            $stored->hub->publish(news => 'last');    # an object of before is served, too
            is_deeply data_up_to($fresh, 'last'), ['last'], 'a new client receives what is published then';
            is_deeply data_up_to($_, 'last'), ['unknown', 'last'], 'one that comes back, too, after a gap'
                for values %back;
            my @all = ($first eq 'publish' ? 'first' : (), 'last');
            is_deeply data_up_to(follow($next, start => 'oldest'), 'last'), \@all, 'the history has what came then';
            ok $stays->client->read_all, 'the stream of before has ended';
        };
    }
}

# From a store to another one, or to none.
my @CHANGES = grep { $_->[0] ne 'memory' } changes_of(qw(file redis memory));

# Publishes events in another process. Returns a function that waits for it, and returns all errors as a text.
sub publish_with {
    my $hub = shift;
    return in_child sub {
        grep { $_ ne 'no exception' } map {
            my $number = $_;
            error_of(sub { $hub->publish(news => $number) })
        } 1 .. 20;
    };
}

# A worker with another store than the named one waits until the workers of before have left, and is refused if they stay.
for my $row (@CHANGES) {
    my ($from, $to) = @$row;
    subtest "a running hub with a store, $from, gets another one, $to, when the workers of before have left" => sub {
        my $stored = Testing::StoredHub->start(store_of($from));
        my $client = follow($stored->hub);
        $stored->hub->publish(news => 'one');
        my $next   = $stored->again(store => store_of($to));
        my $errors = publish_with($next);
        ok wait_until(20, sub { $stored->hub->stats->{process}{workers} > 1 }), 'a worker with the other store waits';
        $FIRST_CALL{command}->($stored);
        is_deeply data_up_to($client, 'first'), ['one', 'first'], 'clients of before notice nothing';
        delete $stored->{hub};
        undef $client;
        is $errors->(),                 '',  'no call fails';
        is $next->stats->{store}{kind}, $to, 'the hub has the other store';
    };
}

subtest 'another store is refused if the workers of before stay' => sub {
    my $stored = Testing::StoredHub->start(store_of('file'));
    $stored->hub->publish(news => 'one');
    my $next = $stored->again(store => 'memory');
    is error_of(sub { $next->publish(news => 'other') }), 'refused store', 'a publish is refused';
    is error_of(sub { follow($next) }),                   'refused store', 'so is a stream';
    ok $stored->hub->publish(news => 'two'), 'workers of before are served';
};

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
            push @had, 'of the job', $first eq 'command' ? 'first' : () if !$is_back;
            push @had, 'first' if $is_back && $first eq 'publish';
            my $fresh = follow($next);
            my @back  = map { follow($next, after => $ids[$_]) } 0, -1;
            push @ids, $next->publish(news => 'last');
            is_deeply data_up_to($fresh, 'last'), ['last'], 'a new client receives what is published then';

            # A file continues only if no other history was delivered meanwhile: it may be a copy.
            my $continues = $is_back && $from eq 'redis';
            my @missed    = $continues ? @had[1 .. $#had] : 'unknown';
            is_deeply data_up_to($back[0], 'last'), [@missed, 'last'], 'one with the first id receives what it missed';
            is_deeply data_up_to($back[1], 'last'), ['unknown', 'last'], 'one with the last id, too: a gap';
            ok $client->client->read_all, 'the stream of before has ended';
            $hub = $next;
        }
        };
}

done_testing;
