# A named hub that does not take requests, is killed, or refuses: the codes of the exceptions, what is counted
# as lost, and that no publish succeeds falsely.

use lib 't/lib';
use Testing         qw(named_hubs);
use Testing::Errors qw(error_of);
use EventSource::XS;
use EventSource::Hub;
use File::Temp                 ();
use Testing::ControlledProcess qw(output_of);
use Testing::Fork              qw(in_child);
use Testing::Process           qw(is_asleep suspend);
use Testing::Subscriber;
use Time::HiRes qw(sleep);

my $folder = File::Temp::tempdir(CLEANUP => 1);
my $count  = 0;

sub process {
    my $number = shift || ++$count;
    return (name => "test$number", socket => "$folder/$number.sock", idle_exit => 1, publish_timeout => $DEADLINE, @_);
}

my @warnings;
local $SIG{__WARN__} = sub { push @warnings, $_[0] };

sub pid_of { return $_[0]->stats->{process}{pid} }

sub lost { return EventSource::XS->stats->{lost} }

# Kills a process when this one sleeps, as it does while it waits for an answer.
sub kill_while_waiting {
    my ($pid, $call) = @_;
    my $parent = $$;
    my $killed = in_child sub {
        my $asleep = 0;
        wait_until $DEADLINE, sub {
            $asleep = is_asleep($parent) ? $asleep + 1 : 0;
            return $asleep > 5;
        };
        kill KILL => $pid;
    };
    my $error = error_of($call);
    $killed->();
    return $error;
}

# Runs a script in another perl. Returns what it prints as errors.
sub run_script {
    my ($script, @arguments) = @_;
    my (undef,   $said)      = output_of($^X, (map { "-I$_" } @INC), '-MEventSource::Hub', -e => $script, @arguments);
    return $said;
}

subtest 'a process that takes no requests' => sub {
    my $number = ++$count;
    my $hub    = EventSource::Hub->new(process($number, publish_timeout => 0.5));
    my $first  = $hub->publish(a => 'first');
    my $pid    = pid_of($hub);
    suspend($pid);
    my $late = eval { $hub->publish(a => 'late') } ? undef : $@;
    is $late->code, 'unknown', 'a call without an answer throws unknown';
    like $late, qr/eventsource hub log test$number may/, 'and says where the reason stands';
    my ($accepted, $refused, $error) = (0, 0, '');

    while ($accepted < 10_000 && $refused < 3) {    # the socket takes a little more at first
        $error = error_of(sub { $hub->publish(a => 'x' x 100_000, {wait => 0}) });
        if ($error eq 'no exception') { $accepted++; $refused = 0 }
        else                          { $refused++; sleep 0.1 }
    }
    is $error, 'full', 'a publish that does not wait throws full in the end';
    cmp_ok $accepted, '>', 50, 'after megabytes';
    is error_of(sub { $hub->publish(a => 'x') }), 'full', 'so does one that waits, after its time';
    is lost(),                                    0,      'nothing is lost';
    kill CONT => $pid;
    my $last;
    eventually_ok $DEADLINE, 'it continues' => sub {
        eval { $last = $hub->publish(a => 'last', {once => 'last'}) }
    };
    my ($epoch) = split /-/, $first;
    is $last, "$epoch-" . ($accepted + 3), 'and has got each event that was accepted, in order';
    is_deeply \@warnings, [], 'there is nothing to warn of';
};

subtest 'a process that is killed' => sub {
    my $hub  = EventSource::Hub->new(process());
    my ($id) = map { $hub->publish(a => $_) } 1 .. 3;    # on each connection
    my $pid  = pid_of($hub);
    suspend($pid);
    is kill_while_waiting($pid, sub { $hub->publish(a => 'x') }), 'unknown',
        'a publish that waits for its answer throws unknown';
    my $next = $hub->publish(a => 'x');
    like $next, qr/-1\z/, 'the next call starts a process, and is its first event';
    isnt + (split /-/, $next)[0], (split /-/, $id)[0], 'with another epoch';
    isnt pid_of($hub), $pid, 'it is another process';

    for (1 .. 10) {
        kill KILL => pid_of($hub);
        my $done = eval { $hub->publish(a => 'x') };
        my $code = defined $done ? '' : ref $@ ? $@->code : $@;
        like $done // $code, qr/-1\z|\Aunknown\z/,
            'a publish after a kill is the first event of the next process, or unknown';
    }
};

subtest 'a lost publish that did not wait is counted' => sub {
    @warnings = ();
    my $hub = EventSource::Hub->new(process());
    $hub->epoch;
    my ($before, $pid) = (lost(), pid_of($hub));
    suspend($pid);
    ok $hub->publish(a => $_, {wait => 0}), 'an event is accepted' for 1 .. 5;
    kill KILL => $pid;
    ok wait_until($DEADLINE, sub { lost() - $before == 5 }), 'each of them counts as lost' or diag lost() - $before;
    $hub->publish(a => 'x');
    is scalar @warnings, 1, 'it is told once';
    like $warnings[0], qr/\AEventSource::Hub: 5 events or subscriptions .* are lost: the connection .* broke/,
        'with the reason';
    my $epoch = $hub->epoch;
    ok $hub->publish(a => {id => "$epoch-1", data => 'x'}, {wait => 0}), 'an event that the process refuses';
    $hub->stats;
    ok wait_until($DEADLINE, sub { lost() - $before == 6 }), 'counts as lost, too';
    $hub->publish(a => 'x');
    is scalar @warnings, 1, 'later losses are not told';
};

subtest 'a script that ends' => sub {
    my $number = ++$count;
    my $hub    = EventSource::Hub->new(process($number));
    my $script = 'my $hub = EventSource::Hub->new(@ARGV); $hub->publish(a => $_, {wait => 0}) for 1 .. 1000';
    is run_script($script, process($number)),                 '',    'it says nothing';
    is $hub->stats->{published},                              1_000, 'what it has published arrives';
    is run_script($script =~ s/\Amy/our/r, process($number)), '', 'so does it with a hub that global destruction frees';
    is $hub->stats->{published},                              2_000, 'and its events arrive';
    my $pid = pid_of($hub);
    suspend($pid);
    like run_script('my $hub = EventSource::Hub->new(@ARGV); $hub->publish(a => 1)',
        process($number, publish_timeout => 0.1)),
        qr/\AEventSource::Hub: .* does not answer; eventsource hub log \S+ may say why at -e line 1/,
        'a script that cannot reach it says so';
    kill CONT => $pid;
    my $stops = 'my $hub = EventSource::Hub->new(@ARGV); my $pid = $hub->stats->{process}{pid}; kill STOP => $pid;'
        . ' 1 until `cat /proc/$pid/stat` =~ /[)] T /; $hub->publish(a => $_, {wait => 0}) for 1 .. 3';
    like run_script($stops, process($number, publish_timeout => 0.3)),
        qr/\AEventSource::Hub: 3 events .* are lost: .* before this process ended/,
        'a script says what it cannot bring to the process';
    kill CONT => $pid;
    ok wait_until($DEADLINE, sub { $hub->stats->{published} >= 2_000 }), 'the process continues';
};

subtest 'a subscription right after a kill' => sub {
    my $hub = EventSource::Hub->new(process());
    for my $round (1 .. 20) {
        kill KILL => pid_of($hub) if $round > 1;
        my $subscriber = eval { Testing::Subscriber->open($hub, 'a') };
        if (!$subscriber) {
            is $@->code, 'unknown', 'it is unknown whether the stream was subscribed';
            next;
        }
        eventually_ok $DEADLINE, 'the hub publishes' => sub {
            eval { $hub->publish(a => $round) }
        };
        my @data = $subscriber->data(1);
        next if !@data && $subscriber->client->ended;    # with the killed process
        is_deeply \@data, [$round], 'the stream receives an event of the next process';
        $subscriber->client->leave;
    }
};

subtest 'streams of a process that is killed' => sub {
    my $hub        = EventSource::Hub->new(process());
    my $subscriber = Testing::Subscriber->open($hub, 'a');
    my $reason;
    $subscriber->conn->on_close(sub { $reason = $_[1] });
    my $id = $hub->publish(a => 'x');
    is_deeply [$subscriber->data(1)], ['x'], 'a stream receives an event';
    kill KILL => pid_of($hub);
    ok $subscriber->client->read_all,                                             'it ends with the process';
    ok wait_until($DEADLINE, sub { EventSource::XS->dispatch; defined $reason }), 'on_close is called';
    is $reason, 'error', 'with the reason';
    ok !$subscriber->conn->is_open,   'the connection is not open';
    ok !$subscriber->conn->push('x'), 'and takes nothing';
    is $subscriber->conn->buffered, 0, 'nothing is buffered' if $subscriber->conn->can('buffered');
    my $again = Testing::Subscriber->open($hub, 'a', {last_event_id => $id});
    is + ($again->blocks_at(1))[-1]{data}, '{"reason":"unknown"}', 'the client that comes back receives a gap';
};

subtest 'objects of one hub' => sub {
    my $number = ++$count;
    my ($one, $two) = map { EventSource::Hub->new(process($number)) } 1, 2;
    $_->publish(a => 'x') for $one, $two;
    is $one->stats->{process}{workers}, 1, 'share a connection';
    my $other = EventSource::Hub->new(process($number), keep_history => {events => 10});
    $other->publish(a => 'x');
    is $one->stats->{process}{workers}, 2, 'unless their settings differ';
    undef $other;
    ok wait_until($DEADLINE, sub { $one->stats->{process}{workers} == 1 }), 'an unused connection is closed';
    my $subscriber = Testing::Subscriber->open($one, 'a');
    $two->subscribe($subscriber->conn, 'b');
    undef $one;
    $two->publish(b => 'both');
    is_deeply [$subscriber->data(1)], ['both'], 'each can subscribe the same stream, and continues without the other';
    kill KILL => pid_of($two);
    eventually_ok $DEADLINE, 'the hub is there again' => sub {
        eval { $two->publish(b => 'y') }
    };
    is $two->stats->{process}{workers}, 1, 'one connection is made after a loss';
};

is_deeply [grep { !/are lost|does not answer/ } @warnings], [], 'there is no other warning';

done_testing;
