package Testing::StoreChaos;
use Testing;

# Two machines, each with a hub process and two Starmans, whose hubs keep their events in one Redis with a replica and a
# Sentinel, while everything dies: kill -9 of workers, of the hub processes and of Redis, which is started again a moment
# later, pauses of Redis, failovers, HUP, upgrades. Numbers are published on both machines, half of them with a key `once`;
# clients reconnect to any server. Testing::Chaos keeps the books.
#
# With replicas => 1 an id is returned when the replica has the event, a master without replicas takes none, and neither loses
# anything when it is killed. Then the books are strict: what was published in an epoch is received in it, up to its end.

use parent 'Testing::Chaos';
use Testing::Sentinel;
use Time::HiRes qw(time);

my $MACHINES = 2;
my $SERVERS  = 2;      # of a machine
my $WORKERS  = 2;      # of a server
my $PAUSE    = 400;    # milliseconds at most; Sentinel takes Redis for dead after 500
my $AWAY     = 1.5;    # seconds at most until Redis is started again

# How often an action is chosen, of 10,000. Otherwise a client disconnects or a number is published.
my %OFTEN = (
    kill_worker => 80,
    kill_hub    => 20,
    reload      => 10,
    upgrade     => 20,
    kill_redis  => 12,
    pause       => 30,
    pause_hub   => 30,
    fail_over   => 6
);
my @FIRST = qw(kill_worker kill_hub pause kill_redis pause_hub upgrade kill_hub reload fail_over kill_hub);
my @WAYS  = qw(publish publish+ publish publish+ job job+ command);

# Why this cannot run here; undef if it can.
sub missing {
    my $class = shift;
    return $class->SUPER::missing // Testing::Sentinel->missing;
}

sub _begin {
    my $self     = shift;
    my $replicas = $self->{replicas};
    my %redis    = $replicas ? (appendonly => 'always', config => ['min-replicas-to-write 1']) : (appendonly => 1);
    $self->{group} = Testing::Sentinel->start(redis => \%redis);
    $self->_add_machine(
        store   => {redis => $self->{group}->url, $replicas ? (replicas => $replicas) : ()},
        servers => $SERVERS,
        workers => $WORKERS,
        args    => [qw(--max-requests 50)],
    ) for 1 .. $MACHINES;
    return;
}

sub _act {
    my ($self, $turn, $turns) = @_;
    $self->_start_redis if $self->{away} && $self->{away}{until} < time;
    my $action = $self->_action($turn, $turns, \%OFTEN, @FIRST) // '';
    my ($client, $way, $victim, $leaves, $at, $part) =
        map { int rand $_ } scalar @{$self->{clients}}, scalar @WAYS, $WORKERS, 2, $MACHINES * $SERVERS, 1_000;
    my $machine = $self->{machines}[$at % $MACHINES];
    my $server  = $self->{servers}[$at];
    return $self->_fail_over                          if $action eq 'fail_over';
    return $self->_kill_hub($machine)                 if $action eq 'kill_hub';
    return $self->_kill_redis($part / 1_000)          if $action eq 'kill_redis';
    return $self->_kill_worker($server, $victim)      if $action eq 'kill_worker';
    return $self->_pause($part / 1_000)               if $action eq 'pause';
    return $self->_pause_hub($machine, $part / 1_000) if $action eq 'pause_hub';
    return $self->_reload($server)                    if $action eq 'reload';
    return $self->_upgrade($machine)                  if $action eq 'upgrade';
    return $leaves ? $self->_leave($self->{clients}[$client], $server) : $self->_publish($WAYS[$way], $at);
}

# Nothing of the hubs is connected to Redis any more.
sub _end {
    my $self   = shift;
    my $others = sub {
        return map {
            grep { /\buser=default\b/ && !/\bname=sentinel|\bflags=[SM]/ } split /\n/, $_->command(qw(CLIENT LIST))
        } $self->{group}->servers;
    };
    my @left;
    wait_until($DEADLINE, sub { !(@left = $others->()) }) or $self->_fails("connections to Redis are left: @left");
    return;
}

# Has Sentinel promote the replica. It refuses if there is none to promote.
sub _fail_over {
    my $self = shift;
    return if $self->_left_alone;
    my $done = eval { ($self->{group}->sentinels)[0]->command('SENTINEL', 'FAILOVER', 'mymaster') };
    $self->{done}{$done ? 'fail_over' : 'fail_over refused'}++;
    return;
}

sub _finish {
    my $self = shift;
    $self->_start_redis if $self->{away};
    return $self->SUPER::_finish;
}

# Kills the master; it is started again later. Sentinel may have promoted the replica by then.
sub _kill_redis {
    my ($self, $part) = @_;
    my $master = !$self->{away} && $self->{group}->master or return;
    return if $self->_left_alone;
    $master->kill;
    $self->{away} = {server => $master, until => time + $part * $AWAY};
    $self->{done}{kill_redis}++;
    return;
}

# True until Redis has recovered from the last fault. A second one at the same time may lose what nobody can know of: with two
# masters, both take events in the same epoch.
sub _left_alone {
    my $self = shift;
    return !!0 if !$self->{away} && $self->{group}->is_whole;
    $self->{done}{'Redis left alone'}++;
    return !!1;
}

# A client of a hub may have been told an event that a failover has lost.
sub _may_repeat { return !!1 }

# What a failover has lost is found within seconds.
sub _may_lose { return !$_[0]{replicas} }

sub _pause {
    my ($self, $part) = @_;
    my $master = !$self->{away} && $self->{group}->master or return;
    $self->{done}{pause}++ if eval { $master->command('CLIENT', 'PAUSE', int $part * $PAUSE) };
    return;
}

sub _start_redis {
    my $self = shift;
    my $away = delete $self->{away};
    $away->{server}->restart;
    return;
}

1;
