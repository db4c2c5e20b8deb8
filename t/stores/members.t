# Members whatever fails. Each case has a store, and machines of its own with Starman and a hub process each. Members come, the
# case does something to the machines or the store, and some clients leave. At rest the members that the hubs list are those of
# the open streams, and so are those that a page has read of. Then all clients leave. The page was told of each member what the
# case expects, and a page of another channel was told nothing.

use lib 't/lib';
use Testing            qw(Machine);
use Testing::Developer qw(needs);
use Testing::FakeClock;
use Testing::Redis;
use Testing::Room;
use Testing::SideBySide qw(run_each);
use Time::HiRes         qw(time);

my $PROMISE = 15;        # seconds within which the members of a dead machine leave
my $LEASE   = 8;         # seconds that a machine has its lease
my $LINGER  = 3;         # seconds
my $WITNESS = 12;        # seconds that a member lingers who leaves after the members of a dead machine have left
my $TABS    = 20;
my $DAY     = 86_400;    # seconds

# Each case: the store, the number of machines, what is done, and what the page on the last machine is told, if that is not that
# everybody joins once and leaves once. Ann, cid, and dan, who is only counted, stay; bob, and eve, who is only counted, leave.
my @CASES = (
    {
        name     => 'the clock of Redis steps, and back when a machine has died',
        store    => 'redis',
        machines => 2,
        clocks   => 1,
        does     => sub {
            my $room = shift;
            $room->enter('gus', leave_after => $LEASE);
            $room->rests;
            $room->clock_of_redis->step($DAY);
            $room->leave('gus');
            $room->rests;
            $room->leave(qw(bob eve));
            $room->dies(0, 1);
            $room->clock_of_redis->step(0);
        },
        told => {gus => 'join leave'},
    },
    {
        name     => 'Redis is away for longer than a lease',
        store    => 'redis',
        machines => 2,
        does     => sub {
            my $room = shift;
            $room->enter('hal', leave_after => $WITNESS);
            $room->rests;
            $room->redis->kill;
            $room->leave(qw(bob eve));
            $room->enter('gus');
            my $until = time + $LEASE + 1;
            $room->reads_until(sub { time > $until });
            $room->redis->restart;
            $room->leave('hal');
        },
        told => {gus => 'join leave', hal => 'join leave'},
    },
    (
        map {
            my ($store, $linger) = @$_;
            {
                name  => "another program continues ($store)",
                store => $store,
                does  => sub {
                    my $room = shift;
                    $room->enter('gus', leave_after => $linger);
                    $room->rests;
                    $room->machine(0)->upgrade_ok;
                    $room->leave('gus');
                    $room->rests;
                    $room->leave(qw(bob eve));
                },
                told => {gus => 'join leave'},
            }
        } [redis => $WITNESS],
        [file => $LINGER]
    ),
    {
        name     => 'a machine dies, and some clients go to the other one',
        store    => 'redis',
        machines => 2,
        within   => $PROMISE,
        does     => sub {
            my $room = shift;
            $room->enter('ann', at => [map { $_ % 2 } 1 .. $TABS]);
            $room->rests;
            $room->leave(qw(bob eve));
            $room->dies(0, 1);
        },
    },
    {
        name     => 'a machine stops for longer than a lease, and continues',
        store    => 'redis',
        machines => 2,
        does     => sub {
            my $room  = shift;
            my $hub   = $room->hub(1);
            my ($pid) = $room->machine(0)->hubs;
            my $here  = sub {
                eval {
                    join ' ', (map { $_->{id} } $hub->members('people')), $hub->members_count('lobby');
                } // '';
            };
            kill STOP => $pid;
            ok $room->reads_until(sub { $here->() eq 'ann 1' }, $PROMISE), 'who is on no other machine has left';
            kill CONT => $pid;
            $room->rests;
            $room->leave(qw(bob eve));
        },
        told => {map { ($_ => 'join leave join leave') } qw(bob cid)},
    },
    {
        name     => 'the hub processes of all machines are killed',
        store    => 'redis',
        machines => 2,
        does     => sub {
            my $room = shift;
            $_->kill_hub for $room->machines;
            $room->leave(qw(bob eve));
        },
    },
    {
        name     => 'the clock of a machine steps',
        store    => 'redis',
        machines => 2,
        clocks   => 1,
        does     => sub {
            my $room = shift;
            for my $step ($DAY, -$DAY) {
                $room->clock->step($step);
                $room->enter("on$step");
                $room->rests;
                $room->leave("on$step");
                $room->rests;
            }
            $room->leave(qw(bob eve));
        },
        told => {"on$DAY" => 'join leave', "on-$DAY" => 'join leave'},
    },
    {
        name     => 'the machines are replaced, one after the other',
        store    => 'redis',
        machines => 2,
        does     => sub {
            my $room = shift;
            for my $number (0, 1) {
                $room->hub($number)->drain(0);
                $room->moves($number, 1 - $number);
                $room->restarts($number);
            }
            $room->leave(qw(bob eve));
        },
    },
    {
        name  => 'the disk is full',
        store => 'file',
        disk  => 1,                    # MiB
        does  => sub {
            my $room = shift;
            $room->fill_disk;
            my $failed = $room->machine(0)->stats->{store}{failed};
            $room->enter('gus', bytes => 60_000);
            $room->machine(0)->stats_ok(sub { $_[0]{store}{failed} > $failed }, 'a join is not stored');
            $room->leave(qw(bob eve));
            ok !{$room->told}->{gus}, 'and nobody is told of it';
            $room->empty_disk;
            $room->rests;
            $room->machine(0)->kill_hub;
            $room->rests;
        },
        told => {gus => 'join leave'},
    },
    {
        name     => 'Redis loses everything',
        store    => 'redis',
        machines => 2,
        does     => sub {
            my $room = shift;
            $room->redis->command('FLUSHALL');
            $room->leave(qw(bob eve));
        },
        told => {
            ann => 'join gap join leave',
            bob => qr/\Ajoin gap(?: join leave)?\z/,    # it may linger when the next epoch begins
            cid => 'join gap join leave',
        },
    },
    {
        name  => 'workers fork, are replaced and are killed',
        store => 'file',
        does  => sub {
            my $room   = shift;
            my $server = $room->machine(0)->server;
            unlike $room->machine(0)->publish(jobs => 1, in_job => 1), qr/error/, 'a worker forks';
            kill HUP => $server->pid;
            $room->rests;
            $server->restart('KILL');
            $room->rests;
            $room->leave(qw(bob eve));
        },
    },
    {
        name => 'the hub process is killed, without a store',
        does => sub {
            my $room = shift;
            $room->machine(0)->kill_hub;
            $room->leave(qw(bob eve));
        },
        told => {ann => 'join gap join leave', bob => 'join gap', cid => 'join gap join leave'},
    },
    {
        name  => 'the hub process is killed twice, with a file',
        store => 'file',
        does  => sub {
            my $room = shift;
            $room->machine(0)->kill_hub;
            $room->rests;
            $room->machine(0)->kill_hub;
            $room->leave(qw(bob eve));
        },
    },
);

sub test {
    my $name = shift;
    my ($case) = grep { $_->{name} eq $name } @CASES;
    Testing::Redis->require_or_skip_all      if ($case->{store} // '') eq 'redis';
    Testing::FakeClock->require_or_skip_all  if $case->{clocks};
    return in_own_disk($name, $case->{disk}) if $case->{disk} && !defined $ENV{TESTING_DISK};
    my $room = Testing::Room->new(leave_after => $LINGER, %$case, folder => $ENV{TESTING_DISK});
    my $last = ($case->{machines} // 1) - 1;
    $room->enter('ann', at => [0, $last]);
    $room->enter($_) for qw(bob cid);
    $room->enter('dan', at => [0, $last], count => 'lobby');
    $room->enter('eve', count => 'lobby');
    $room->rests;
    $case->{does}->($room);
    $room->rests($case->{within});
    $room->ends((map { $_ => 'join leave' } qw(ann bob cid)), %{$case->{told} || {}});
    return;
}

# Runs a case that has a small disk, in a perl with its own mounts.
sub in_own_disk {
    my ($name, $size) = @_;
    my $folder = new_folder;
    my @mount =
        ('unshare', '-m', 'sh', '-c', "mount -t tmpfs -o size=${size}m tmpfs \"\$0\" && exec \"\$@\"", "$folder");
    needs('nothing can be mounted here') if system(@mount, 'true') != 0;
    local $ENV{TESTING_DISK} = "$folder";
    return is system(@mount, $^X, (map { "-I$_" } @INC), $0, $name), 0, 'a disk of its own';
}

$Testing::SideBySide::AT_ONCE = 8;    # they wait most of the time
run_each([map { $_->{name} } @CASES] => \&test);
done_testing;
