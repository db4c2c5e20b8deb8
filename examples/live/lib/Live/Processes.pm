package Live::Processes;
use strict;
use warnings;

# The processes of the demonstration, as the kernel lists them: the server, its workers, and the hub process. The
# demonstration signals only these.

my $PROGRAM = 'eventsource-hub';

use Time::HiRes qw(sleep time);

my $END_WITHIN = 5;    # seconds

# Public functions

# Ends the hub process, and waits for that.
sub end_hub {
    my $socket   = shift;
    my $deadline = time + $END_WITHIN;
    my $signal   = 'TERM';
    while (my @pids = hub($socket)) {
        kill $signal => @pids;
        $signal = 'KILL' if time > $deadline;
        sleep 0.05;
    }
    return;
}

# Returns the ids of the processes that serve or start the hub with this socket.
sub hub {
    my $socket = shift;
    return grep { _command($_) =~ /(?:\A|\/)\Q$PROGRAM\E\0.*\0\Q$socket\E\0/s } _own();
}

# Returns the id of the server that has started this process as one of its workers; undef if there is none. A server with
# several processes leads their process group, if script/demo or a shell with job control has started it.
sub server {
    my $env = shift;
    return if !$env->{'psgi.multiprocess'} || getppid() != getpgrp();
    return getppid();
}

# Returns the ids of a server's workers.
sub workers {
    my $server = shift;
    return grep { _parent($_) == $server } _own();
}

# Private functions

sub _command { return _read("/proc/$_[0]/cmdline") }

sub _own {
    return grep { -o "/proc/$_" } map { m{/([0-9]+)\z} } glob '/proc/[0-9]*';
}

# Returns the parent's id of a process that runs; 0 if it has ended.
sub _parent {
    my $pid = shift;
    return _read("/proc/$pid/stat") =~ m{[)] [^Z] ([0-9]+) } ? $1 : 0;
}

sub _read {
    my $path = shift;
    open my $file, '<', $path or return '';
    local $/;
    return readline($file) // '';
}

1;
