# The order of what one process asks of a named hub. A publish that waits for its id goes over a second
# connection; whatever the thread has asked for before it, on the first one, takes effect before it. Also: who uses that
# connection after a fork, in threads, while signals come, and while the hub process does not answer.

use lib 't/lib';
use Testing         qw(named_hubs);
use Testing::Errors qw(error_of);
use Config;
use if $Config{useithreads}, 'threads';
use EventSource::Hub;
use File::Temp          ();
use Testing::Fork       qw(in_child);
use Testing::Process    qw(suspend);
use Testing::Subscriber qw(events);
use Time::HiRes         qw(setitimer ITIMER_REAL);

my $folder = File::Temp::tempdir(CLEANUP => 1);
my $count  = 0;

sub process {
    my $number = ++$count;
    return (name => "test$number", socket => "$folder/$number.sock", idle_exit => 1, publish_timeout => $DEADLINE, @_);
}

# The sockets of this process, as the kernel names them.
sub sockets {
    return grep { /\Asocket:/ } map { readlink // () } glob '/proc/self/fd/*';
}

# A hub whose process has answered on both connections, and the socket of the second one.
sub hub_with_two_connections {
    my $hub = EventSource::Hub->new(@_ ? @_ : process());
    $hub->epoch;
    my %before = map { ($_ => 1) } sockets();
    my @second;
    wait_until $DEADLINE, sub {
        $hub->publish(first => 'x');
        @second = grep { !$before{$_} } sockets();
    } or diag 'there is no second connection';
    return ($hub, @second);
}

sub number_of { return $_[0] =~ /-([0-9]+)\z/ ? $1 : "no id: $_[0]" }

sub pid_of { return $_[0]->stats->{process}{pid} }

# The data of the events that the client of a stream has received.
sub data_of {
    return map { $_->{data} } events($_[0]->client->text);
}

# Publishes an event, and returns what the client of a stream has received until then.
sub received {
    my ($hub, $subscriber, $data) = @_;
    $hub->publish(end => $data);
    $subscriber->client->read_until(qr/^data: \Q$data\E\n/m) or diag "$data does not arrive";
    return data_of($subscriber);
}

# A push may overtake an event that was published before it: a stream's own buffer is sent first.
subtest 'a push comes before a later publish' => sub {
    my ($hub) = hub_with_two_connections();
    my $subscriber = Testing::Subscriber->open($hub, 'a', 'end');
    for my $number (1 .. 200) {
        $subscriber->conn->push("push $number") if $number % 3;
        $hub->publish(a => "publish $number")   if $number % 7;
    }
    my ($pushed, $published, @wrong) = (0, 0);
    for my $event (received($hub, $subscriber, 'last')) {
        my ($kind, $number) = split / /, $event;
        my $expected = $kind eq 'publish' ? $number - !($number % 3) : 0;
        push @wrong, "$event after push $pushed" if $pushed < $expected;
        ($kind eq 'push' ? $pushed : $published) = $number // 200;
    }
    is_deeply \@wrong, [], 'each event follows the pushes before it';
    is "$pushed $published", '200 200', 'all have come';
};

subtest 'a later subscription receives what is published after it' => sub {
    my ($hub) = hub_with_two_connections();
    my $subscriber = Testing::Subscriber->open($hub, 'end');
    for my $number (1 .. 50) {
        $hub->publish("c$number" => 'not seen');
        $hub->subscribe($subscriber->conn, "c$number");
        $hub->publish($_ => $number) for "c$number", "c$number", 'c1';
    }
    my @data = received($hub, $subscriber, 'last');
    is_deeply \@data, [(map { ($_) x 3 } 1 .. 50), 'last'], 'each event once, in their order, and none from before';
};

subtest 'a stream that is closed receives no later event' => sub {
    my ($hub) = hub_with_two_connections();
    my @subscribers = map { Testing::Subscriber->open($hub, 'a') } 1 .. 30;
    for my $subscriber (@subscribers) {
        $hub->publish(a => 'before');
        $subscriber->conn->close;
        $hub->publish(a => 'after');
    }
    $hub->publish(a => 'last');
    my @wrong;
    for my $number (0 .. $#subscribers) {
        $subscribers[$number]->client->read_all;
        my @data = data_of($subscribers[$number]);
        push @wrong, "$number: @data" if "@data" ne join ' ', ('before', 'after') x $number, 'before';
    }
    is_deeply \@wrong, [], 'after close';
};

subtest 'publishes that do not wait come first' => sub {
    my ($hub) = hub_with_two_connections();
    my ($number, @wrong) = number_of($hub->publish(a => 'x'));
    for my $round (1 .. 100) {
        my $others = $round % 4;
        $hub->publish(a => 'x', {wait => 0}) for 1 .. $others;
        my $got = number_of($hub->publish(a => 'x'));
        push @wrong, "round $round: $got" if $got != $number + $others + 1;
        $number = $got;
    }
    is_deeply \@wrong, [], 'each id follows those of the events before it';
};

subtest 'the newest settings stay' => sub {
    my @process = process();
    my $old     = EventSource::Hub->new(@process, keep_history => {events => 50});
    my $new     = EventSource::Hub->new(@process, keep_history => {events => 5});
    $_->epoch for $old, $new;
    hub_with_two_connections(@process, keep_history => {events => 50});
    $new->epoch;
    $old->publish(a => 'x') for 1 .. 20;
    is $new->stats->{process}{workers}, 2, 'two workers are connected';
    cmp_ok $new->stats->{history}{events}, '<=', 10, 'the history of two channels has their bounds';
};

subtest 'a hub process that stops for a second' => sub {
    my ($hub) = hub_with_two_connections();
    my $pid   = pid_of($hub);
    my $first = number_of($hub->publish(a => 'x'));
    suspend($pid);
    my $goes_on = in_child(sub { sleep 1; kill CONT => $pid; return 'done' });
    is number_of($hub->publish(a => 'x')), $first + 1, 'answers when it continues';
    $goes_on->();
    is number_of($hub->publish(a => 'x')), $first + 2, 'and then';
};

subtest 'an answer that comes too late is not an answer to another publish' => sub {
    my @process = process(publish_timeout => 0.3);
    my ($hub)   = hub_with_two_connections(@process);
    my $pid     = pid_of($hub);
    for my $round (1 .. 3) {
        my $number = number_of(($hub->publish(a => 'x'))[0]);
        suspend($pid);
        is error_of(sub { $hub->publish(a => 'late') }), 'unknown', 'a publish without an answer throws unknown';
        kill CONT => $pid;
        my $got;
        wait_until $DEADLINE, sub {
            eval { $got = number_of($hub->publish(a => 'x', {once => "next $round"})) }
        };
        is $got, $number + 2, 'the next one has the next id but one';
    }
};

subtest 'signals do not make a publish longer' => sub {
    my @process = process(publish_timeout => 0.3);
    my ($hub)   = hub_with_two_connections(@process);
    my $pid     = pid_of($hub);
    suspend($pid);
    my $signals = 0;
    local $SIG{ALRM} = sub { $signals++ };
    setitimer(ITIMER_REAL, 0.02, 0.02);
    is error_of(sub { $hub->publish(a => 'x') }), 'unknown', 'it throws unknown in its time';
    setitimer(ITIMER_REAL, 0);
    cmp_ok $signals, '>', 0, 'although signals have come';
    kill CONT => $pid;
};

subtest 'a forked child has connections of its own' => sub {
    my @process = process();
    my ($hub, $second) = hub_with_two_connections(@process);
    my $before = number_of($hub->publish(a => 'x'));
    my $child  = in_child sub {
        my %inherited = map { ($_ => 1) } sockets();
        my @ids       = map { number_of($hub->publish(a => 'child')) } 1 .. 50;
        return ($inherited{$second} ? 'inherited' : 'closed', @ids);
    };
    my @own = map { number_of($hub->publish(a => 'parent')) } 1 .. 50;
    my ($is_closed, @others) = split / /, $child->();
    is $is_closed, 'closed', 'the copy of the second connection is closed at once';
    is_deeply [sort { $a <=> $b } @own, @others], [map { $before + $_ } 1 .. 100], 'each event has its own id';
    is_deeply \@own,    [sort { $a <=> $b } @own],    'those of the parent in order';
    is_deeply \@others, [sort { $a <=> $b } @others], 'those of the child in order';
    is scalar(grep { $_ eq $second } sockets()), 1,             'the connection of the parent is as before';
    is number_of($hub->publish(a => 'x')),       $before + 101, 'and works';
    ok wait_until($DEADLINE, sub { $hub->stats->{process}{workers} == 1 }), 'one worker is left';
};

subtest 'twenty threads' => sub {
    plan skip_all => 'this perl has no threads' if !$Config{useithreads};
    my ($hub)   = hub_with_two_connections();
    my $before  = number_of($hub->publish(a => 'x'));
    my @threads = map {
        threads->create(
            {context => 'list'},
            sub {
                map { number_of($hub->publish(a => 'x')) } 1 .. 50;
            }
        )
    } 1 .. 20;
    my @all = map { [$_->join] } @threads;
    is_deeply [sort { $a <=> $b } map { @$_ } @all], [map { $before + $_ } 1 .. 1_000], 'each event has its own id';
    is scalar(
        grep {
            "@$_" ne join ' ',
                sort { $a <=> $b }
                @$_
        } @all
        ),
        0, 'each thread has its ids in order';
};

# More threads than connections for their calls, of which each may have sent the mark of another one.
subtest 'in each of ten threads what does not wait comes first' => sub {
    plan skip_all => 'this perl has no threads' if !$Config{useithreads};
    my ($hub)      = hub_with_two_connections();
    my $subscriber = Testing::Subscriber->open($hub, 'a', 'end');
    my @threads    = map {
        my $name = $_;
        threads->create(
            sub {
                for my $number (1 .. 30) {
                    $hub->publish(a => "$name $number first", {wait => 0}) for 1 .. $number % 3;
                    $hub->publish(a => "$name $number second");
                }
                return;
            }
        )
    } 1 .. 10;
    $_->join for @threads;
    my @data = received($hub, $subscriber, 'last');
    for my $name (1 .. 10) {
        my @expected = map { my $number = $_; (("first") x ($number % 3), 'second') } 1 .. 30;
        is_deeply [map { /\A$name [0-9]+ (\w+)/ ? $1 : () } @data], \@expected, "thread $name";
    }
};

subtest 'both connections end with the hub' => sub {
    my ($hub, $second) = hub_with_two_connections();
    my $pid = pid_of($hub);
    undef $hub;
    eventually_ok $DEADLINE, 'the second one is closed' => sub {
        !grep { $_ eq $second } sockets();
    };
    ok wait_until($DEADLINE, sub { !kill 0 => $pid }), 'and the process ends';
};

done_testing;
