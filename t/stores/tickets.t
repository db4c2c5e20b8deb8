# Tickets of hubs with a store. With a file the next process opens those of one that was killed, unless they were withdrawn, and
# never after an earlier file was put back. Two machines with one Redis: each opens the tickets of both, also after its process
# was killed; a right that is withdrawn on one of them is withdrawn on both; without Redis no ticket opens.

use lib 't/lib';
use Testing qw(native);
use EventSource::Hub;
use EventSource::Hub::Process;
use File::Copy qw(copy);
use Test::EventSource;
use Testing::Redis;

my $folder = new_folder;
my $asked;

sub hub {
    my ($name, $store) = @_;
    return EventSource::Hub->new(
        name            => 'shop',
        socket          => "$folder/$name.sock",
        store           => $store,
        idle_exit       => 5,
        publish_timeout => 2,
    );
}

sub client {
    my $hub = shift;
    return Test::EventSource->new(
        app => $hub->to_app(channels => sub { $asked++; return 'news' }, label => sub { 'user/7' }, ticket => 600));
}

# The ticket of a new stream.
sub ticket {
    my $header = $_[0]->get('/')->header('Set-Cookie') || '';
    return $header =~ /\A([^;]+)/ ? $1 : undef;
}

sub asked {
    my ($client, $ticket) = @_;
    $asked = 0;
    $client->get('/', headers => [Cookie => $ticket]);
    return $asked;
}

# Kills the hub process, and waits for the next one.
sub kill_hub {
    my $hub = shift;
    my $pid = $hub->stats->{process}{pid};
    kill KILL => $pid;
    return wait_until sub {
        (eval { $hub->stats->{process}{pid} } || $pid) != $pid;
    };
}

subtest 'a file' => sub {
    my ($file, $socket) = ("$folder/events.db", "$folder/file.sock");
    my $hub    = hub(file => {file => $file});
    my $client = client($hub);
    my $ticket = ticket($client);
    is sprintf("%o", (stat $file)[2] & oct 777), 600, 'only its owner reads the keys in the file';
    is asked($client, $ticket),                  0,   'a ticket opens, also one from before the hub process ran';
    my $count    = 0;
    my @restarts = (
        upgrade => sub { EventSource::Hub::Process->upgrade(name => 'shop', socket => $socket) },
        stop    => sub { EventSource::Hub::Process->stop(name => 'shop', socket => $socket) },
        kill    => sub { kill_hub($hub) },
    );

    while (my ($name, $restart) = splice @restarts, 0, 2) {
        subtest $name => sub {
            $ticket = ticket($client);
            my $restarted = sub { $restart->(); $hub->publish(other => 'the store has begun') };
            $restarted->();
            is asked($client, $ticket), 0, 'the next process opens the ticket';
            $hub->end(label => 'user/8');
            $restarted->();
            is asked($client, $ticket), 0, 'nobody has withdrawn this right';
            for my $end ({label => 'user/7'}, {topics => 'news'}) {
                $hub->end(%$end);
                $restarted->();
                is asked($client, $ticket), 1, "what was withdrawn just before by a @{[%$end]} counts";
                $ticket = ticket($client);
                is asked($client, $ticket), 0, 'a later ticket opens';
                $restarted->();
                is asked($client, $ticket), 0, 'also in the next process';
            }
        };
    }
    for (1 .. 10) {
        kill KILL => $hub->stats->{process}{pid};
        $count += asked($client, $ticket);
    }
    is $count, 0, 'a client may come back before its worker knows that the process was killed';
    kill KILL => $hub->stats->{process}{pid};
    wait_until sub {
        eval { $hub->end(label => 'user/7'); 1 }
    };    # it throws if it does not know
    is asked($client, $ticket), 1, 'what is withdrawn while no process runs counts';

    subtest 'an earlier file' => sub {
        my $stop = sub { EventSource::Hub::Process->stop(name => 'shop', socket => $socket) };
        $ticket = ticket($client);
        $stop->();
        copy($file, "$folder/backup.db") or die "$!\n";
        is asked($client, $ticket), 0, 'the ticket opens';
        $hub->end(label => 'user/7');
        $stop->();
        copy("$folder/backup.db", $file) or die "$!\n";    # in its place
        is asked($client, $ticket), 1, 'what was withdrawn after a backup counts when that is put back';
        $ticket = ticket($client);
        $stop->();
        is asked($client, $ticket), 0, 'another ticket opens';
        $stop->();
        copy($file, "$folder/backup.db") or die "$!\n";
        unlink "$socket.seen"            or die "$socket.seen: $!\n";
        is asked($client, $ticket), 1, 'none opens if nobody knows what the file must have';
        $ticket = ticket($client);
        $stop->();
        rename "$folder/backup.db", $file or die "$file: $!\n";
        is asked($client, $ticket),         1, 'nor from another file';
        is asked($client, ticket($client)), 0, 'but later ones';

        $ticket = ticket($client);
        $stop->();
        my $of_memory = hub(file => undef);
        $of_memory->end(label => 'user/7');
        undef $of_memory;
        $stop->();
        is asked($client, $ticket), 1, 'what was withdrawn while the hub had no store counts';
        $stop->();
    };
};

subtest 'Redis' => sub {
    my $redis   = Testing::Redis->start_or_skip_all(appendonly => 'always');
    my @hubs    = map { hub($_, {redis => $redis->url}) } 'one', 'two';
    my @clients = map { client($_) } @hubs;
    my $epoch   = ($hubs[0]->epoch, $hubs[1]->epoch)[1];
    my @tickets = map { ticket($_) } @clients;

    # Whether all machines open all these tickets, or none of them does: otherwise which do.
    my $opens = sub {
        my ($expected, @of) = @_;
        my @opened;
        for my $at (0, 1) {
            push @opened, map { "$_ at $at" } grep { !asked($clients[$at], $of[$_]) == $expected } 0 .. $#of;
        }
        return @opened == 2 * @of ? '' : "only @opened";
    };
    my $opened  = sub { is $opens->(1, @{$_[0]}), '', $_[1] };
    my $refused = sub {
        my ($of, $name) = @_;
        return ok wait_until(sub { $opens->(!1, @$of) eq '' }), $name;
    };
    my $kill = sub { ok kill_hub($hubs[$_[0]]), 'a hub process is killed' };

    $opened->(\@tickets, 'each machine opens the tickets of both');
    $hubs[0]->end(label => 'user/8');
    $hubs[0]->publish(news => 'after it');
    $opened->(\@tickets, 'nobody has withdrawn this right');
    for my $by (0, 1) {
        $hubs[$by]->end(label => 'user/7');
        is asked($clients[$by], $tickets[$_]), 1,
            'a right that is withdrawn here, whichever machine has issued its ticket'
            for 0, 1;
        $refused->(\@tickets, 'is withdrawn on the other machine, too');
        @tickets = map { ticket($_) } @clients;
        eventually_ok 'later tickets open on both' => sub {
            @tickets = map { ticket($_) } @clients;
            $opens->(1, @tickets) eq '';
        };
    }
    $hubs[0]->end(topics => 'news');
    $refused->(\@tickets, 'and so is one by a topic');

    subtest 'a process that was killed' => sub {
        @tickets = map { ticket($_) } @clients;
        $kill->(0);
        $opened->(\@tickets, 'the next one opens what it has issued');
        EventSource::Hub::Process->upgrade(name => 'shop', socket => "$folder/one.sock");
        ok wait_until(sub { $opens->(1, @tickets) eq '' }),
            'and the one after an upgrade, as soon as it has read Redis';
        $hubs[0]->end(label => 'user/7');
        EventSource::Hub::Process->upgrade(name => 'shop', socket => "$folder/one.sock");
        is asked($clients[0], $tickets[$_]), 1, 'an upgrade does not forget what was withdrawn' for 0, 1;
        $kill->(0);
        is asked($clients[0], $tickets[$_]), 1, 'nor does the process after one that was killed' for 0, 1;
        @tickets = map { ticket($_) } @clients;
        $opened->(\@tickets, 'later tickets open');
        kill KILL => $hubs[0]->stats->{process}{pid};
        $hubs[1]->end(label => 'user/7');
        $refused->(\@tickets, 'what is withdrawn meanwhile counts');
        @tickets = map { ticket($_) } @clients;
        $hubs[1]->end(label => 'user/8') for 1 .. 3;
        $hubs[1]->publish(news => $_) for 1 .. 10;
        $redis->command('XTRIM', "es:{shop}:$epoch", 'MAXLEN', 2);
        $opened->(\@tickets, 'a hub that knows all opens tickets that are older than the history');
        $kill->(0);
        is asked($clients[0], $tickets[$_]), 1, 'one that has begun with it does not' for 0, 1;
    };

    subtest 'keys' => sub {
        my $key = 'es:{shop}.tickets';
        my $age = sub {
            my ($number, $since, $secret) = split / /, $redis->command('HGET', $key, 'current');
            $redis->command('HSET', $key, 'current', join ' ', $number, $since - 3_600_001, $secret);
        };
        my @of_first = map { ticket($_) } @clients;
        $age->();
        $kill->(0);
        my $new = ticket($clients[0]);
        is asked($clients[0], $_), 0, 'a key has taken the place of another, which opens still' for $new, @of_first;
        ok wait_until(sub { !asked($clients[1], $new) }), 'another machine reads it, if it has not yet';
        $age->();
        $kill->(0);
        is asked($clients[0], $new), 0, 'the key before opens';
        is asked($clients[0], $_),   1, 'the one before that does not' for @of_first;
        my $stranger = client(hub(three => {redis => $redis->url, prefix => 'other'}));
        is asked($stranger, $new), 1, 'a hub with another prefix has other keys';
        EventSource::Hub::Process->stop(name => 'shop', socket => "$folder/three.sock");
    };

    @tickets = map { ticket($_) } @clients;
    ok wait_until(sub { $opens->(1, @tickets) eq '' }), 'all tickets open';
    $redis->kill;
    eventually_ok 'Redis is away' => sub {
        !grep { $_->stats->{store}{up} } @hubs;
    };
    is asked($clients[$_], $tickets[$_]), 1, 'others may have withdrawn a right meanwhile' for 0, 1;
    $redis->restart;
    eventually_ok 'Redis is back' => sub {
        !grep { !$_->stats->{store}{up} } @hubs;
    };
    $opened->(\@tickets, 'nobody has');
    $redis->command('FLUSHALL');
    eventually_ok 'Redis has lost its history' => sub {
        !grep { !$_->stats->{store}{epoch_changes} } @hubs;
    };
    is $opens->(!1, @tickets), '', 'nobody knows what was withdrawn in what is lost';
    EventSource::Hub::Process->stop(name => 'shop', socket => "$folder/$_.sock") for 'one', 'two';
};

done_testing;
