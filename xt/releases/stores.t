# A store that programs of two releases use: a file, one after the other in both directions, and a Redis, at the same time on
# two machines. Events, ids, keys, state and members are the same for both.

use lib 't/lib';
use Testing;
use File::Temp ();
use Testing::Client;
use Testing::Deadline qw($DEADLINE wait_until);
use Testing::Machine;
use Testing::Redis;
use Testing::Release;
use Testing::RoamingClient;

my ($old, $new) = Testing::Release->both_or_skip_all;
Testing::Machine->require_or_skip_all;
Testing::Redis->require_or_skip_all;

my %release = (old => $old, new => $new);

sub member {
    my ($machine, $id) = @_;
    return Testing::RoamingClient->open($machine, path => "/member?id=$id&channels=other&leave_after=100");
}

sub state_of {
    my ($machine, $has) = @_;
    my $client = Testing::RoamingClient->open($machine, path => '/state?channels=stock');
    $client->has($has);
    $client->leave;
    return $client->page;
}

# The events about members that a client was sent.
sub told {
    my $reader = shift;
    $reader->has_gaps_now;
    return [map { "$_->{event} $_->{data}" } $reader->events];
}

subtest 'a file' => sub {
    my $folder  = File::Temp->newdir;
    my $machine = Testing::Machine->start({file => "$folder/events"}, env => $old->env, grace => 60);
    my @ids     = map { $machine->publish(news => "first $_", once => "first $_") } 1 .. 3;
    $machine->publish(stock => 'a=first', key => 'a', retain => 1);
    my $news   = Testing::RoamingClient->open($machine, channels => 'news', id => $ids[0]);
    my $people = Testing::RoamingClient->open($machine, channels => 'people');
    ok wait_until($DEADLINE, sub { defined $people->last_id }), 'a stream that is told of members has begun';
    my $ann   = member($machine, 'ann');
    my %stock = (a => 'first');

    for my $turn ([1, 'new'], [2, 'old'], [3, 'new']) {
        my ($number, $name) = @$turn;
        is $machine->stop_hub, undef, "turn $number: the hub process is stopped";
        ok wait_until($DEADLINE, sub { !$machine->hubs }), 'it has ended';
        $machine->server->restart(TERM => %{$release{$name}->env});
        push @ids, $machine->publish(news => "$name $number", once => "$name $number");
        $machine->publish(other => "other $number");
        ok $ann->has("other $number"),  'a member comes back';
        ok $news->has("$name $number"), "the $name release publishes to a client that comes back";
        is $machine->publish(news => 'again', once => 'first 2'), $ids[1], 'a key once of before is remembered';
        is_deeply state_of($machine, "a=$stock{a}"), {%stock}, 'the state is that of before';
        %stock = (%stock, a => "$name $number", $name => 'x');
        $machine->publish(stock => "$_=$stock{$_}", key => $_, retain => 1) for $name, 'a';
        is_deeply state_of($machine, "a=$stock{a}"), {%stock}, 'and changes';
    }
    is_deeply [$news->ids], [@ids[1 .. $#ids]], 'a client has all events once and in order';
    is $news->gaps, 0, 'it received no gap';
    is_deeply told($people), ['join {"id":"ann"}'], 'a member that comes back has neither joined again nor left';
    $_->leave for $news, $people, $ann;
    $machine->end_ok;
};

subtest 'a Redis of two machines' => sub {
    my $redis    = Testing::Redis->start;
    my %machine  = map { $_ => Testing::Machine->start({redis => $redis->url}, env => $release{$_}->env) } qw(old new);
    my @machines = @machine{qw(old new)};
    my @clients  = map { Testing::RoamingClient->open($_, channels => 'news') } @machines;
    my $people   = Testing::RoamingClient->open($machine{new}, channels => 'people');
    my @ids;
    for my $number (1 .. 5) {
        push @ids, map { $machine{$_}->publish(news => "$_ $number", once => "$_ $number") } qw(old new);
    }
    for my $client (@clients) {
        ok $client->has('new 5'), 'a client has the last event';
        is_deeply [$client->ids], \@ids, 'and all of both machines, once and in order';
    }
    is $machine{new}->publish(news => 'again', once => 'old 3'), $ids[4], 'a key once of the old machine is remembered';
    is $machine{old}->publish(news => 'again', once => 'new 3'), $ids[5], 'and one of the new machine';

    $clients[0]->leave;
    push @ids, $machine{old}->publish(news => 'meanwhile');
    $clients[0]->move($machine{new});
    push @ids, $machine{new}->publish(news => 'then');
    ok $clients[0]->has('then'), 'a client that moves to the new machine resumes';
    is_deeply [[$clients[0]->ids], $clients[0]->gaps], [\@ids, 0], 'and misses nothing';

    $machine{$_}->publish(stock => "$_=1", key => $_, retain => 1) for qw(old new);
    ok wait_until($DEADLINE, sub { keys %{state_of($_, 'new=1')} == 2 }), 'the state is that of both machines'
        for @machines;
    $machine{new}->publish(stock => 'old', forget => 'old');
    ok wait_until($DEADLINE, sub { !exists state_of($_, 'new=1')->{old} }), 'a key is forgotten on both' for @machines;

    my @tabs = map { member($_, 'ann') } @machines;
    my $bob  = member($machine{old}, 'bob');
    ok $people->has(qr/bob/), 'a member joins';
    $bob->move($machine{new});
    $tabs[0]->leave;
    my $end  = Testing::RoamingClient->open($machine{old}, channels => 'news', labels => 'user/7');
    my $gone = Testing::Client->get($machine{new}->port, '/hub?channels=news&labels=user%2F7');
    ok $gone->read_until(qr/^id: /m), 'a stream of a user on the other machine';
    like $machine{old}->ask('/end', label => 'user/7', finish => 1), qr/\A[0-9]+\z/, 'the streams of a user are ended';
    ok $gone->read_all, 'that one, too';
    like $gone->body, qr/^id: eventsource-finished\r?$/m, 'for good';

    is $machine{old}->stop_hub, undef, 'the old hub process is stopped';
    ok wait_until($DEADLINE, sub { !$machine{old}->hubs }), 'it has ended';
    $machine{old}->server->restart(TERM => %{$new->env});
    push @ids, $machine{old}->publish_at_last(news => 'both are new', once => 'both are new');
    for my $client (@clients) {
        ok $client->has('both are new'), 'a client has what the renewed machine publishes';
        is_deeply [[$client->ids], $client->gaps], [\@ids, 0], 'and all before, once and in order';
    }
    is_deeply [sort @{told($people)}], ['join {"id":"ann"}', 'join {"id":"bob"}'], 'nobody has joined twice or left';
    $_->leave for @clients, $people, $bob, $end, $tabs[1];
    $_->end_ok for @machines;
};

done_testing;
