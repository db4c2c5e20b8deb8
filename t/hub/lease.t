# Leases of a named hub: one holder, the next one when it goes, forks, and arguments that are refused.

use lib 't/lib';
use Testing qw(named_hubs);
use EventSource::XS;
use EventSource::Hub;
use EventSource::Hub::Lease;
use POSIX ();
use Test::EventSource;
use Testing::Fork qw(fork_child in_child);

my $hub  = Test::EventSource->private_hub;
my $told = '';

sub lease {
    my ($name, %option) = @_;
    return EventSource::Hub::Lease->new(
        hub       => $option{hub} || $hub,
        name      => $name,
        on_change => sub { $told .= $_[0]->name . ($_[0]->is_held ? ' held;' : ' lost;') },
    );
}

# True when the condition has become true; callbacks run meanwhile.
sub becomes {
    my $condition = shift;
    return wait_until($DEADLINE, sub { EventSource::XS->dispatch; $condition->() });
}

# What on_change was told since the last call.
sub told {
    EventSource::XS->dispatch;
    my $text = $told;
    $told = '';
    return $text;
}

# A process that runs code, and then waits. Returns when the code has run.
sub start_holder {
    my $code  = shift;
    my $holds = sub {
        $code->();
        syswrite $_[0], "ready\n";
        sleep 1000;
    };
    my $child = fork_child($holds, sub { POSIX::_exit(0) });
    is readline($child->{from}), "ready\n", 'another process is ready';
    return $child->{pid};
}

subtest 'the next one in the queue gets the lease' => sub {
    my $second_hub = Test::EventSource->private_hub;
    my @leases     = (lease('a'), lease('a', hub => $second_hub), lease('a'), lease('b'));
    is_deeply [map { $_->is_held ? 1 : 0 } @leases], [1, 0, 0, 1], 'the first one holds a lease, for each name';
    is told(), 'a held;b held;', 'each holder is told once';
    undef $leases[0];
    ok becomes(sub { $leases[1]->is_held }), 'the second one gets it when the first one is freed';
    is told(), 'a held;', 'and is told';
    undef $leases[2];
    my $last = lease('a');
    undef $leases[1];
    ok becomes(sub { $last->is_held }), 'one that has left the queue gets nothing';
    told();
};

subtest 'a holder that is killed' => sub {
    my $kept;
    my $pid   = start_holder(sub { $kept = lease('killed'); $kept->is_held or die });
    my $lease = lease('killed');
    ok !$lease->is_held, 'the other process holds the lease';
    kill KILL => $pid;
    waitpid $pid, 0;
    ok becomes(sub { $lease->is_held }), 'this one gets it';
    told();
};

subtest 'a holder that is killed while a child of its own lives' => sub {
    my ($kept, $child);
    pipe my $from, my $to or die $!;
    my $pid = start_holder sub {
        $kept  = lease('parent');
        $child = fork;
        if (!$child) { sleep 1000; POSIX::_exit(0) }
        syswrite $to, "$child\n";
    };
    chomp($child = readline $from);
    my $lease = lease('parent');
    kill KILL => $pid;
    waitpid $pid, 0;
    ok becomes(sub { $lease->is_held }), 'the child does not keep the lease';
    ok kill(KILL => $child),             'it lives';
    told();
};

subtest 'a forked child does not inherit a lease' => sub {
    my $lease = lease('inherited');
    my $ended = in_child sub {
        EventSource::XS->dispatch;
        undef $lease;
        return lease('inherited')->is_held ? 'held' : 'not held';
    };
    is $ended->(), 'not held', 'a child that frees its copy and asks anew does not get it';
    my $other = lease('inherited');
    ok !$other->is_held && $lease->is_held, 'its parent holds it';
    told();
};

subtest 'the hub process is killed' => sub {
    my ($lease, $other) = (lease('hub'), lease('hub', hub => Test::EventSource->private_hub));
    told();
    my ($pid) = pids_with("$ENV{EVENTSOURCE_RUNTIME_DIR}/test.sock.lock");
    ok $pid, 'the process is found';
    my $epoch = $hub->epoch;
    kill KILL => $pid;
    ok becomes(
        sub {
            (eval { $hub->epoch } // $epoch) ne $epoch;
        }
        ),
        'there is another one';
    my $news = lease('news');
    ok becomes(sub { $news->is_held }),                     'which has leases';
    ok becomes(sub { $lease->is_held != $other->is_held }), 'one holds the old one';
    told();
};

# The processes that have a file open.
sub pids_with {
    my $path = shift;
    my %pids = map { m{/proc/([0-9]+)/} && (readlink($_) // '') eq $path ? ($1 => 1) : () } glob '/proc/[0-9]*/fd/*';
    return keys %pids;
}

subtest 'a worker gets at most 256 leases' => sub {
    my @warned;
    local $SIG{__WARN__} = sub { push @warned, @_ };
    my @leases = map { lease("many-$_") } 1 .. 300;
    cmp_ok scalar(grep { $_->is_held } @leases), '<=', 256, 'so many are held';
    like $warned[0], qr/a worker may ask for at most 256 leases/, 'a warning says so';
    undef @leases;
    ok lease('after')->is_held, 'there is room again';
    like $hub->publish(news => 'x'), qr/-/, 'the hub serves on';
};

done_testing;
