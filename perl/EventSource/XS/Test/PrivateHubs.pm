package EventSource::XS::Test::PrivateHubs;
use strict;
use warnings;

# The named hubs that a test and its applications use: their sockets are in a folder of this test,
# which the environment gives. A keeper process ends the hubs and removes the folder when the test ends in any way. The
# keeper and the test share a pair of sockets, the line: a byte on it ends the hubs, and so does its end.

use EventSource::XS::Settings;
use EventSource::XS::SocketPair;
use Fcntl       qw(LOCK_EX LOCK_NB);
use File::Path  ();
use File::Spec  ();
use File::Temp  ();
use IO::Select  ();
use POSIX       ();
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime sleep);

my $SETTINGS = EventSource::XS::Settings->new('Test::EventSource: private_hub');

my $VARIABLE    = 'EVENTSOURCE_RUNTIME_DIR';
my $STORE       = 'EVENTSOURCE_STORE';
my $PROGRAM     = 'eventsource-hub';
my $END_WITHIN  = 120;                         # seconds, for all hubs
my $STOP_WITHIN = 10;                          # seconds, then a hub is killed
my $POLL_EVERY  = 0.01;                        # seconds

# The longest path of a folder for sockets whose names may have 64 characters: a socket's path has at most 107 bytes.
my $MAX_PATH_BYTES = 107 - length '/hubs/.sock' . 'x' x 64;

# The folder of this test, the process that has made it, the line, and the keeper.
my ($folder, $owner, $line, $keeper);

# The store that the environment had before.
my $store_before;

END {
    local ($?, $!, $@);
    __PACKAGE__->end;
}

# Public methods

sub begin {
    return $folder if defined $owner && $owner == $$;
    my $root = _temporary_folder();
    mkdir "$root/hubs", oct 700 or $SETTINGS->throw(unavailable => "$root/hubs: $!");
    my ($ours, $theirs) = EventSource::XS::SocketPair->open or $SETTINGS->throw(unavailable => "no socketpair: $!");
    defined(my $pid = fork) or $SETTINGS->throw(unavailable => "no fork: $!");
    if (!$pid) {
        eval { _become_keeper($theirs, $root); 1 } or print STDERR $@;
        POSIX::_exit(1);
    }
    EventSource::XS::Test::Remote->not_inherited($ours) if $INC{'EventSource/XS/Test/Remote.pm'};
    ($folder, $owner, $line, $keeper) = ("$root/hubs", $$, $ours, $pid);
    $store_before   = $ENV{$STORE};
    $ENV{$VARIABLE} = $folder;        ## no critic (RequireLocalizedPunctuationVars) for good
    $ENV{$STORE}    = 'memory';       ## no critic (RequireLocalizedPunctuationVars)
    return $folder;
}

sub end {
    return if !defined $owner || $owner != $$;
    local $SIG{PIPE} = 'IGNORE';
    syswrite $line, 'x';              # if a child of the test has the line too, closing it would not end it
    shutdown $line, 1;

    # Until the keeper has ended: the application may reap the test's children.
    IO::Select->new($line)->can_read($END_WITHIN) or kill KILL => $keeper;
    waitpid $keeper, 0;
    undef $_ for $folder, $owner, $line, $keeper;
    delete $ENV{$VARIABLE};
    delete $ENV{$STORE};
    $ENV{$STORE} = $store_before if defined $store_before;    ## no critic (RequireLocalizedPunctuationVars)
    return;
}

# Runs in the keeper. Does not return.
sub keep {
    my ($class, $root) = @_;
    $SIG{$_} = 'IGNORE' for qw(HUP INT TERM);                 ## no critic (RequireLocalizedPunctuationVars)
    sysread STDIN, my $word, 1;

    # Under another name no application finds the folder and starts a hub in it anew.
    my $hubs = rename("$root/hubs", "$root/ended") ? "$root/ended" : "$root/hubs";
    _end_hub($_) for glob qq("$hubs/*.sock.lock");
    File::Path::remove_tree($root);
    POSIX::_exit(0);
    return;
}

# From now on a test's hubs have the stores of their applications.
sub with_stores { delete $ENV{$STORE}; return }

# Private functions

# Becomes a program of its own, so that the keeper has none of the test's descriptors.
sub _become_keeper {
    my ($theirs, $root) = @_;
    POSIX::setsid();
    open STDIN,  '<&', $theirs             or die "keeper: $!\n";
    open STDOUT, '>',  File::Spec->devnull or die "keeper: $!\n";
    open STDERR, '>&', \*STDOUT            or die "keeper: $!\n";
    my @perl = ($^X, (map { "-I$_" } grep { !ref } @INC), '-M' . __PACKAGE__);
    exec {$perl[0]} @perl, '-e', __PACKAGE__ . '->keep(@ARGV)', $root or die "$perl[0]: $!\n";
    return;
}

# Ends a hub process, and waits until it has ended: then its lock is free. A process that was starting the hub may have the
# lock, too, so the signal is for the program alone.
sub _end_hub {
    my $path = shift;
    open my $lock, '<', $path or return;
    for (1 .. $STOP_WITHIN) {
        return if flock $lock, LOCK_EX | LOCK_NB;
        kill TERM => grep { (readlink("/proc/$_/exe") // '') =~ m{/\Q$PROGRAM\E(?: \(deleted\))?\z} } _holders($path);
        return if _is_locked_within($lock, 1);
    }
    kill KILL => _holders($path);
    _is_locked_within($lock, $STOP_WITHIN);
    return;
}

# The processes that have a file open.
sub _holders {
    my $path = shift;
    my %holders;
    for my $link (glob '/proc/[0-9]*/fd/*') {
        my ($pid) = $link =~ m{/proc/([0-9]+)/};
        $holders{$pid} = 1 if $pid != $$ && (readlink($link) // '') eq $path;
    }
    return keys %holders;
}

sub _is_locked_within {
    my ($lock, $seconds) = @_;
    my $deadline = clock_gettime(CLOCK_MONOTONIC) + $seconds;
    while (!flock $lock, LOCK_EX | LOCK_NB) {
        return !!0 if clock_gettime(CLOCK_MONOTONIC) > $deadline;
        sleep $POLL_EVERY;
    }
    return !!1;
}

sub _temporary_folder {
    my @parents = grep { length() + length('/eventsource-XXXXXX') <= $MAX_PATH_BYTES } File::Spec->tmpdir, '/tmp';
    my $root    = eval { File::Temp::tempdir('eventsource-XXXXXX', DIR => $parents[0]) }
        or $SETTINGS->throw(unavailable => "no folder: $@");
    return $root;
}

1;
