package Processes;
use strict;
use warnings;

# What processes have used, looked at from outside: the processor's time, and memory.
#
#   my $seconds = cpu(@pids);
#   my $bytes   = resident_bytes(@pids);

use Carp        qw(croak);
use Exporter    qw(import);
use List::Util  qw(sum0);
use Time::HiRes qw(clock_gettime);

our @EXPORT_OK = qw(cpu proportional_bytes resident_bytes);

# Public functions

# Seconds of the processor's time that they have used together, in all of their threads, the ended ones too.
sub cpu {
    return sum0 map { clock_gettime(-8 * ($_ + 1) + 2) } @_;    # clock_getcpuclockid(3) on Linux: (~pid << 3) | 2
}

# Bytes in memory, where what several share counts once in all.
sub proportional_bytes {
    return sum0 map { _memory($_, 'Pss') } @_;
}

# Bytes in memory, their own and shared ones.
sub resident_bytes {
    return sum0 map { _memory($_, 'Rss') } @_;
}

# Private functions

sub _memory {
    my ($pid, $kind) = @_;
    open my $from, '<', "/proc/$pid/smaps_rollup" or croak "smaps_rollup of $pid: $!";
    my ($kilobytes) = join('', readline $from) =~ /^$kind:\s+([0-9]+) kB/m;
    return $kilobytes * 1024;
}

1;
