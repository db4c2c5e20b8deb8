# Members of machines with one Redis: who is on two of them joins once and leaves once, who changes machines causes nothing, and
# the members of a machine that stops leave. What else can fail is in members.t.

use lib 't/lib';
use Testing;
use EventSource::Hub;
use Testing::Deadline qw(wait_until);
use Testing::Machine;
use Testing::Redis;
use Testing::RoamingClient;
use Time::HiRes qw(sleep);

my $DEADLINE = 30;    # seconds
my $PROMISE  = 15;    # seconds within which the members of a dead machine leave

Testing::Machine->require_or_skip_all;
Testing::Redis->require_or_skip_all;

my $redis    = Testing::Redis->start(appendonly => 'always');
my @machines = map { Testing::Machine->start({redis => $redis->url}) } 1, 2;
my @hubs     = map { EventSource::Hub->new($_->place, store => {redis => $redis->url}) } @machines;
my $reader   = Testing::RoamingClient->open($machines[1], channels => 'people');

sub member {
    my ($number, $id) = @_;
    return Testing::RoamingClient->open($machines[$number], path => "/member?id=$id&channels=news");
}

# The members as a machine knows them.
sub here {
    return join ' ', map { $_->{id} } eval { $_[0]->members('people') }
}

sub here_ok {
    my ($here, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    wait_until(
        $DEADLINE,
        sub {
            $reader->has_gaps_now;
            !grep { here($_) ne $here } @hubs;
        }
    );
    return is_deeply [map { here($_) } @hubs], [$here, $here], $name;
}

# What was told since this was asked before.
my $told = 0;

sub told {
    $reader->has_gaps_now;
    my @events = map { "$_->{event} " . ($_->{data} =~ s/\A\{"id":"(.*)"\}\z/$1/r) } $reader->events;
    my @new    = @events[$told .. $#events];
    $told = @events;
    return \@new;
}

# Waits until so much was told.
sub told_ok {
    my ($expected, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    wait_until($DEADLINE, sub { $reader->has_gaps_now; $reader->events >= $told + @$expected });
    return is_deeply told(), $expected, $name;
}

subtest 'a member on two machines joins once and leaves once' => sub {
    my @tabs = map { member($_, 'ann') } 0, 1;
    here_ok('ann', 'both machines know the member');
    $tabs[0]->leave;
    sleep 3;    # longer than it lingers
    here_ok('ann', 'it is on one machine still');
    told_ok(['join ann'], 'it has joined once');
    $tabs[1]->leave;
    here_ok('', 'nobody is here');
    told_ok(['leave ann'], 'it has left once');
};

subtest 'a client that goes to the other machine causes no event' => sub {
    my $client = member(0, 'bob');
    here_ok('bob', 'a member comes');
    $client->move($machines[$_ % 2]) for 1 .. 3;
    sleep 3;
    here_ok('bob', 'the member is here');
    told_ok(['join bob'], 'nobody was told');
    $client->leave;
    here_ok('', 'the member leaves');
    told_ok(['leave bob'], 'once');
};

subtest 'the members of a machine that stops leave, and join when it continues' => sub {
    my @clients = (member(0, 'cid'), member(0, 'dan'), member(1, 'dan'));
    here_ok('cid dan', 'members come');
    told();
    my ($pid) = $machines[0]->hubs;
    kill STOP => $pid;
    ok wait_until($PROMISE, sub { here($hubs[1]) eq 'dan' }),
        'those who are on no other machine leave within 15 seconds';
    told_ok(['leave cid'], 'once');
    kill CONT => $pid;
    here_ok('cid dan', 'they are here again');
    told_ok(['join cid'], 'once');
    $clients[0]->leave;
    $machines[0]->kill_hub;
    ok wait_until($PROMISE, sub { here($hubs[1]) eq 'dan' }), 'and leave when it is killed, as soon';
    $_->leave for @clients[1, 2];
    here_ok('', 'nobody is left');
    told_ok(['leave cid', 'leave dan'], 'once');
};

subtest 'the number of members that are only counted is that of all machines' => sub {
    my $page  = Testing::RoamingClient->open($machines[1], channels => 'lobby');
    my $count = sub {
        my $number = shift;
        my @events;
        my $is_last = sub {
            $page->has_gaps_now;
            @events = $page->events;
            return @events && $events[-1]{data} eq $number;
        };
        wait_until($DEADLINE, $is_last);
        return $events[-1]{data};
    };
    my $counted = sub {
        my ($number, $id) = @_;
        return Testing::RoamingClient->open($machines[$number], path => "/member?id=$id&count=lobby&channels=news");
    };
    my @clients = map { $counted->(@$_) } [0, 'ann'], [1, 'ann'], [1, 'bob'], [0, 'cid'];
    is $count->(3), 3, 'it counts each once';
    $_->leave for @clients[0, 2];
    is $count->(2), 2, 'who is on one of them still is counted';
    $clients[3]->leave;
    is $count->(1), 1, 'who has left is not';
    $clients[1]->leave;
    my $dan = $counted->(0, 'dan');
    is $count->(1), 1, 'one has come, and one has left';
    kill STOP => my ($pid) = $machines[0]->hubs;
    is $count->(0), 0, 'nobody is left when a machine has died';
    kill CONT => $pid;
    is $count->(1), 1, 'it is back';
    $dan->leave;
    is $count->(0), 0, 'nobody is left';
    is_deeply [map { $_->{event} } $page->events], [('count') x $page->events], 'the page is told nothing else';
    $page->leave;
};

$_->end_ok for @machines;
done_testing;
