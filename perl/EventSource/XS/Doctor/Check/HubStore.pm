package EventSource::XS::Doctor::Check::HubStore;
use strict;
use warnings;

# Looks whether the store of a hub is healthy, and keeps what it is meant to keep.

use EventSource::XS::Doctor::Finding qw(duration judged number ok wrong);
use EventSource::XS::Hub::Health;

my $RECENT = 3600;    # seconds for which an error counts

# File systems that do not survive a reboot, and those on which SQLite cannot lock.
my $IN_MEMORY = qr/\A(?:tmpfs|ramfs|devtmpfs)\z/;
my $REMOTE    = qr/\A(?:nfs4?|cifs|smb3|smbfs|9p|fuse[.]sshfs|afs|ceph)\z/;

# Public methods

sub findings {
    my ($class, $seen) = @_;
    return if !defined $seen->{hub};
    my $found = _health($seen) or return;                               # hub_process says that there is no process
    my $store = $found->{store};
    my %said  = (measured => $store);
    my $name  = "The store of the hub $seen->{hub} ($store->{kind})";
    return wrong(
        'hub_store', "The hub $seen->{hub} does not deliver: $found->{problem}. " . _figures($store),
        remedy => _remedy($store),
        %said
    ) if defined $found->{problem};
    my @troubles = (_trouble_of_place($store), _troubles($store));
    return ok('hub_store', "The hub $seen->{hub} has no store: its events end with its process.", %said)
        if $store->{kind} eq 'memory' && !@troubles;
    return judged('hub_store', $name, 'is up', _figures($store), \@troubles, %said);
}

# Private functions

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
    return 'It has ' . join(', ', @figures) . '.';
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

# Returns what the hub says of its store, and the problem if there is one; nothing if nobody answers.
sub _health {
    my $seen = shift;
    return eval {
        my $health = EventSource::XS::Hub::Health->new($seen->{probe}->hub);
        $health->examine;
        {problem => $health->problem, store => $health->stats->{store}};
    };
}

sub _remedy {
    my $store = shift;
    return
        'Set maxmemory-policy noeviction, and maxmemory to more than the history takes, or give the hub a Redis of its own:'
        . ' an evicted history is a gap for all clients.'
        if _evicts($store);
    return
        'Check that Redis runs at that address, that user, password and certificates are right, and that its version is 6.2'
        . ' or newer.'
        if $store->{kind} eq 'redis';
    return
        'Check that the folder of the file belongs to the user of the hub, and that the disk is neither full nor read-only.';
}

# The troubles, as judged of EventSource::XS::Doctor::Finding takes them. The count of losses is of the life of the hub process.
sub _troubles {
    my $store = shift;
    my $times = $store->{epoch_changes};
    my @troubles;
    push @troubles,
        [
        warning => 'has lost its history ' . number($times, 'time', 'times') . ', and all clients received a gap',
        $store->{kind} eq 'redis'
        ? 'Find the cause: Redis was emptied, or lost events at a restart or a failover. It needs appendonly yes, no eviction'
            . ' and nobody who flushes it; replicas => 1 keeps events over a failover.'
        : 'Check the file and its disk: only the hub may write, move or restore the file.'
        ]
        if $times;
    push @troubles,
        [warning => 'reported ' . duration($store->{last_error_age}) . " ago: $store->{last_error}", _remedy($store)]
        if defined $store->{last_error} && (_evicts($store) || $times || $store->{last_error_age} < $RECENT);
    return @troubles;
}

sub _trouble_of_place {
    my $store  = shift;
    my $remedy = 'Put the file on a local disk, in a folder such as /var/lib/NAME.';
    return if $store->{kind} ne 'file';
    utf8::encode(my $path = $store->{place});
    my $type = _file_system($path);
    return [warning => "is in memory: $store->{place} is on a $type, which a reboot empties", $remedy]
        if $type =~ $IN_MEMORY;
    return [warning => "is on a file system of the network ($type), where SQLite cannot lock safely", $remedy]
        if $type =~ $REMOTE;
    return [warning => "is in /tmp, which the system empties: $store->{place}", $remedy] if $path =~ m{\A/tmp/};
    return;
}

1;
