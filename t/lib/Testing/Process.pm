package Testing::Process;
use strict;
use warnings;

# Processes that a test has not started itself: what /proc says about them, their stop, and the end of a hub process.
#
#   ok wait_until(10, sub { !is_running($pid) }), 'the process has ended';
#   is_deeply [zombies_of($worker)], [], 'it has no zombies';
#   is stop_hub_process(name => 'shop', socket => $path), undef, 'the process has begun to end';

use Exporter          qw(import);
use Testing::Deadline qw(wait_until);

our @EXPORT_OK = qw(
    children_of descriptors_of hubs_at is_asleep is_running memory_of none_runs processes_like processes_of_group
    stop_hub_process suspend zombies_of
);

# Returns the ids of the processes that it has started and that have not been reaped.
sub children_of {
    my $parent = shift;
    return grep { ((_state_and_parent($_))[1] // 0) == $parent } map { m{([0-9]+)\z} } glob '/proc/[0-9]*';
}

# Returns how many descriptors a process has.
sub descriptors_of {
    my $pid = shift;
    return scalar(() = glob "/proc/$pid/fd/*");
}

# Returns the ids of the processes that serve hubs whose sockets are at or below a path.
sub hubs_at { return processes_like(qr/eventsource-hub\0(?:run|start)\0.*\Q$_[0]\E/s) }

sub is_asleep { return ((_state_and_parent($_[0]))[0] // '') eq 'S' }

# False also for a zombie: init reaps orphans when it likes. One whose threads live still holds its sockets, so it runs.
sub is_running {
    my $pid = shift;
    my ($state) = _state_and_parent($pid);
    return defined $state && ($state !~ /[XZ]/ || _threads_of($pid) > 1);
}

# Returns the megabytes that a process uses now, and the most that it has used; nothing if it is gone.
sub memory_of {
    my $pid = shift;
    open my $status, '<', "/proc/$pid/status" or return;
    my %status = map { /\A(\w+):\s+([0-9]+) kB/ ? ($1 => $2 / 1_024) : () } readline $status;
    return grep { defined } @status{qw(VmRSS VmHWM)};
}

sub none_runs {
    my @pids = @_;
    return !grep { is_running($_) } @pids;
}

# Returns the ids of the processes whose command line matches.
sub processes_like {
    my $pattern = shift;
    my @pids;
    for my $file (glob '/proc/[0-9]*/cmdline') {
        open my $in, '<', $file or next;
        my $command = do { local $/; readline $in };
        push @pids, $file =~ m{/([0-9]+)/} if ($command // '') =~ $pattern;
    }
    return @pids;
}

# Returns the ids of the running processes of a group.
sub processes_of_group {
    my $group = shift;
    my @pids;
    for my $file (glob '/proc/[0-9]*/stat') {
        open my $stat, '<', $file or next;
        my ($pid, $of) = (readline($stat) // '') =~ /\A([0-9]+) \(.*\) [A-Z] [0-9]+ ([0-9]+) /s or next;
        push @pids, $pid if $of == $group && is_running($pid);
    }
    return @pids;
}

# Returns undef, or the error.
sub stop_hub_process {
    my %place = (timeout => 10, @_);
    delete $place{autostart};
    require EventSource::Hub::Process;
    eval { EventSource::Hub::Process->stop(%place); 1 } and return undef;
    return $@;
}

# Stops a process until it is sent SIGCONT. Returns when it is stopped, or has ended before.
sub suspend {
    my $pid = shift;
    kill STOP => $pid;
    wait_until(20, sub { ((_state_and_parent($pid))[0] // 'X') =~ /[TXZ]/ }) or die "$pid does not stop";
    return;
}

# Returns the ids of the children that a process has not reaped.
sub zombies_of {
    my $parent = shift;
    return grep { ((_state_and_parent($_))[0] // '') eq 'Z' } children_of($parent);
}

sub _state_and_parent {
    my $pid = shift;
    open my $file, '<', "/proc/$pid/stat" or return;
    my $text = readline $file;
    return defined $text && $text =~ /\) (\w) (\d+) [^)]*\z/ ? ($1, $2) : ();
}

sub _threads_of {
    my $pid   = shift;
    my @tasks = glob "/proc/$pid/task/[0-9]*";
    return scalar @tasks;
}

1;
