package Processes;
use strict;
use warnings;

# CPU time and memory of processes, and the hub process.
#
#   my $seconds = cpu(@pids);
#   my $bytes   = resident_bytes(@pids);

use Carp        qw(croak);
use Exporter    qw(import);
use List::Util  qw(sum0);
use Time::HiRes qw(clock_gettime sleep);

our @EXPORT_OK = qw(cpu end_hub hub proportional_bytes resident_bytes);

# Public functions

# Returns their CPU time in seconds: the sum of all threads, those that have ended included.
sub cpu {
    return sum0 map { clock_gettime(-8 * ($_ + 1) + 2) } @_;    # clock_getcpuclockid(3) on Linux: (~pid << 3) | 2
}

# Ends the hub process with this socket, and waits for that.
sub end_hub {
    my $socket = shift;
    while (my @pids = hub($socket)) {
        kill KILL => @pids;
        sleep 0.05;
    }
    return;
}

# Returns the ids of the hub processes with this socket.
sub hub {
    my $socket = shift;
    return
        grep { _command($_) =~ /eventsource-hub\0run\0.*\0\Q$socket\E\0/s } map { m{([0-9]+)\z} } glob '/proc/[0-9]*';
}

# Returns their memory in bytes. Memory that several processes share counts once.
sub proportional_bytes {
    return sum0 map { _memory($_, 'Pss') } @_;
}

# Returns their resident memory in bytes. Shared memory counts for each process.
sub resident_bytes {
    return sum0 map { _memory($_, 'Rss') } @_;
}

# Private functions

sub _command {
    my $pid = shift;
    open my $from, '<', "/proc/$pid/cmdline" or return '';
    local $/;
    return readline($from) // '';
}

sub _memory {
    my ($pid, $kind) = @_;
    open my $from, '<', "/proc/$pid/smaps_rollup" or croak "smaps_rollup of $pid: $!";
    my ($kilobytes) = join('', readline $from) =~ /^$kind:\s+([0-9]+) kB/m;
    return $kilobytes * 1024;
}

1;
