package EventSource::XS::Doctor::Check::Hub;
use strict;
use warnings;

# Looks at a named hub: whether a restart of the service by systemd would kill its process together with its workers, how many
# of its streams poll, and whether its store is healthy and keeps what it is meant to keep.

use EventSource::XS::Doctor::Finding qw(duration judged named number ok warning wrong);
use EventSource::XS::Hub::Health;
use EventSource::XS::Reason;

# A few streams poll that are those of clients behind proxies of their own. Many mean that one proxy hinders all.
my $MANY     = 0.1;                           # of all streams
my @HINDERED = qw(mute silent refused cut);

my $RECENT = 3600;                            # seconds for which an error of the store counts

# File systems that do not survive a reboot, and those on which SQLite cannot lock.
my $IN_MEMORY = qr/\A(?:tmpfs|ramfs|devtmpfs)\z/;
my $REMOTE    = qr/\A(?:nfs4?|cifs|smb3|smbfs|9p|fuse[.]sshfs|afs|ceph)\z/;

# Who has named a store.
my %NAMED = (
    kept   => 'before, not by a connected program: eventsource hub stop forgets it',
    option => 'when the process was started',
    worker => 'by a program',
);

# Public methods

sub findings {
    my ($class, $seen) = @_;
    return if !defined $seen->{hub};
    my $health = eval { EventSource::XS::Hub::Health->new($seen->{probe}->hub) };
    return (
        named(hub_process => _process($seen, $health->stats)),
        named(hub_polls   => _polls($seen, $health->stats)),
        named(hub_store   => _store($seen, $health))
    ) if $health && eval { $health->examine; 1 };
    my $why = EventSource::XS::Reason->message_of($@);
    return warning(
        "The hub $seen->{hub} has no process that this user can ask: $why.",
        'Start the workers of the hub, or check --hub and --socket. Run the doctor as the user of the hub.',
        check => 'hub_process'
    );
}

# Private functions

# The cgroup as systemd sees it: of version 2, or of the hierarchy name=systemd.
sub _cgroup {
    my $pid = shift;
    open my $file, '<', "/proc/$pid/cgroup" or return undef;
    my @lines     = readline $file;
    my ($systemd) = map { /\A[0-9]+:name=systemd:(.*)/ ? $1 : () } @lines;
    my ($unified) = map { /\A0::(.*)/                  ? $1 : () } @lines;
    return defined $systemd ? $systemd : $unified;
}

sub _evicts { return ($_[0]{last_error} || '') =~ /maxmemory|evict/ }

# Tells what a reader of the report wants to know of a store, whatever the verdict is. A file has no lag: its hub reports an
# event when it is written.
sub _figures {
    my $store   = shift;
    my @figures = (
        number($store->{events},  'event',       'events') . ' in ' . number($store->{bytes}, 'byte', 'bytes'),
        number($store->{pending}, 'event waits', 'events wait') . ' to be stored',
    );
    push @figures, 'the last one came ' . duration($store->{lag}) . ' after it was stored'
        if $store->{kind} eq 'redis';
    push @figures, number($store->{failed},     'event',     'events') . ' could not be stored' if $store->{failed};
    push @figures, number($store->{reconnects}, 'reconnect', 'reconnects')                      if $store->{reconnects};
    my $named = $NAMED{$store->{source}};
    return 'It has ' . join(', ', @figures) . '.' . ($named ? " It was named $named." : '');
}

# The type of the file system of a path: that of the deepest mount that contains it.
sub _file_system {
    my $path = shift;
    open my $mounts, '<', '/proc/self/mountinfo' or return '';
    my ($deepest, $type) = (-1, '');
    while (my $line = readline $mounts) {
        my ($mount, $its) = $line =~ /\A(?:\S+ ){4}(\S+) .*? - (\S+) / or next;
        $mount =~ s/\\([0-7]{3})/chr oct $1/ge;
        $mount =~ s{/\z}{};
        next if index("$path/", "$mount/") != 0 || length $mount < $deepest;
        ($deepest, $type) = (length $mount, $its);
    }
    return $type;
}

sub _polls {
    my ($seen, $stats) = @_;
    my $polls   = $stats->{polls};
    my @reasons = map { $polls->{$_} ? "$_ $polls->{$_}" : () } @HINDERED, 'other';
    my $sentence =
          "$polls->{waiting} of "
        . number($stats->{streams}, 'stream', 'streams')
        . " of the hub $seen->{hub} poll now; polls so far, by reason: "
        . (join(', ', @reasons) || 'none') . '.';
    $seen->measure(hub_polls => streams => $stats->{streams}, %$polls);
    return ok($sentence)
        if !$polls->{waiting}
        || $polls->{waiting} < $MANY * $stats->{streams}
        || !grep { $polls->{$_} } @HINDERED;
    return warning($sentence,
        'Most proxies let TLS through. If this report names none, run eventsource doctor URL where such a client is.');
}

sub _process {
    my ($seen, $stats) = @_;
    my $process = "The hub $seen->{hub} (process $stats->{pid})";
    my @workers = @{$seen->{workers} || $stats->{workers}};
    my $cgroup  = _cgroup($stats->{pid});
    $seen->measure(
        hub_process => hub => 0 + $stats->{pid},
        workers     => [map { 0 + $_ } @workers],
        cgroup      => $cgroup
    );
    return warning("$process has workers that could not be found.",
        'Start the workers, or name them with --workers PID,PID.')
        if !@workers || !defined $cgroup;
    my ($same) = grep { (_cgroup($_) || '') eq $cgroup } @workers;
    return ok("$process is in another cgroup than its workers, so it outlives their service.")
        if !defined $same;
    my ($unit) = $cgroup =~ m{([^/]+\.service)};
    return ok("$process and its worker $same are in the same cgroup, $cgroup, which is not a service of systemd.")
        if !defined $unit;
    return wrong(
        "$process and its worker $same are both in $unit: a restart of that by systemd kills the hub and all streams.",
        'Run the hub in a service of its own, with the shipped units eventsource-hub@.socket and eventsource-hub@.service:'
            . " systemctl enable --now eventsource-hub\@$seen->{hub}.socket"
    );
}

sub _remedy {
    my $store = shift;
    return
        'Set maxmemory-policy noeviction, and maxmemory to more than the history takes, or give the hub a Redis of its own.'
        if _evicts($store);
    return
        'Check that Redis runs at that address, is of 6.2 or newer, and takes the user, the password and the certificates.'
        if $store->{kind} eq 'redis';
    return
        'Check that the folder of the file belongs to the user of the hub, and that the disk is neither full nor read-only.';
}

sub _store {
    my ($seen,  $health)  = @_;
    my ($store, $problem) = ($health->stats->{store}, $health->problem);
    $seen->measure(hub_store => %$store);
    return wrong("The hub $seen->{hub} does not deliver: $problem. " . _figures($store), _remedy($store))
        if defined $problem;
    my @troubles = (_trouble_of_place($store), _troubles($store));
    return ok("The hub $seen->{hub} has no store: its events end with its process.")
        if $store->{kind} eq 'memory' && !@troubles;
    return judged("The store of the hub $seen->{hub} ($store->{kind})", 'is up', _figures($store), @troubles);
}

# The troubles, as judged of EventSource::XS::Doctor::Finding takes them. The count of losses is of the life of the hub process.
sub _troubles {
    my $store = shift;
    my $times = $store->{epoch_changes};
    my ($error, $age) = @$store{qw(last_error last_error_age)};
    return grep { shift @$_ } (
        [
            $times,
            warning => 'has lost its history ' . number($times, 'time', 'times') . ', and all clients received a gap',
            $store->{kind} eq 'redis'
            ? 'Find the cause: Redis was emptied, or lost events at a restart or a failover. It needs appendonly yes, no eviction'
                . ' and nobody who flushes it; replicas => 1 keeps events over a failover.'
            : 'Check the file and its disk: only the hub may write, move or restore the file.'
        ],
        [
            defined $error && (_evicts($store) || $times || $age < $RECENT),
            warning => 'reported ' . duration($age // 0) . ' ago: ' . ($error // ''),
            _remedy($store)
        ],
    );
}

sub _trouble_of_place {
    my $store = shift;
    return if $store->{kind} ne 'file';
    utf8::encode(my $path = $store->{place});
    my $type = _file_system($path);
    my $where =
          $type =~ $IN_MEMORY ? "in memory: $store->{place} is on a $type, which a reboot empties"
        : $type =~ $REMOTE    ? "on a file system of the network ($type), where SQLite cannot lock safely"
        : $path =~ m{\A/tmp/} ? "in /tmp, which the system empties: $store->{place}"
        :                       return;
    return [warning => "is $where", 'Put the file on a local disk, in a folder such as /var/lib/NAME.'];
}

1;
