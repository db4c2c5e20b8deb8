# Attack: another user of the machine looks for a way in. A process with streams and a hub has no file, no named socket and no
# shared memory of its own: every descriptor that it opens for them is anonymous.

use lib 't/lib';
use Testing qw(native);
use EventSource::XS;
use EventSource::Hub;
use Testing::Subscriber;

plan skip_all => 'it looks at /proc' if grep { !-e } '/proc/self/fd', '/proc/self/maps', '/proc/net/unix';

# Returns the targets of this process's descriptors, by number.
sub descriptors {
    return
        map { my ($number) = m{/([0-9]+)\z}; my $what = readlink; defined $what ? ($number => $what) : () }
        glob '/proc/self/fd/*';
}

# Returns the shared mappings that this process may write to.
sub shared_maps {
    open my $maps, '<', '/proc/self/maps' or die "maps: $!";
    return map { /\A\S+ .w.s \S+ \S+ \S+\s*(.*)/ ? $1 : () } readline $maps;
}

# The sockets in the file system, or of an abstract name, by their inodes.
sub named_sockets {
    open my $sockets, '<', '/proc/net/unix' or die "unix: $!";
    return map { my @column = split; @column > 7 ? ($column[6] => $column[7]) : () } readline $sockets;
}

my %before     = descriptors();
my $hub        = EventSource::Hub->new;
my $subscriber = Testing::Subscriber->open($hub, 'a');
my $descriptor = EventSource::XS->notify_fd;
$hub->publish(a => 'b');
is_deeply [$subscriber->data(1)], ['b'], 'a stream receives an event';

my %now   = descriptors();
my %named = named_sockets();
my @new   = map { $now{$_} } grep { !defined $before{$_} || $before{$_} ne $now{$_} } keys %now;
cmp_ok scalar @new, '>=', 4, 'the process opens descriptors';
is_deeply [grep { !m{\A(?:socket:|pipe:|anon_inode:)} } @new], [], 'each descriptor is a socket, a pipe or anonymous';
is_deeply [grep { /\Asocket:\[([0-9]+)\]/ && exists $named{$1} } @new], [], 'no socket has a name';
is_deeply [shared_maps()],                                              [], 'no writable memory is shared';

done_testing;
