package Testing::Sentinel;
use Testing;

# A real master of Redis, replicas of it, and Sentinels that watch them and promote a replica if the master is away for half a
# second. All end with the object.
#
#   my $group = Testing::Sentinel->start(sentinels => 3, replicas => 1, redis => {appendonly => 1});
#   my $hub   = EventSource::Hub->new(name => 'shop', store => {redis => $group->url});
#   my $old   = $group->master;
#   $old->kill;
#   wait_until(30, sub { $group->master != $old });
#
# The defaults are one Sentinel, one replica, and the name mymaster. The options of `redis` are those of Testing::Redis;
# password is that of the Sentinels.

use Carp qw(croak);
use Testing::Redis;

my $WITHIN = 60;    # seconds, until all know each other

# Lets the Sentinels promote a replica, as an operator would; returns when the new master answers.
sub fail_over {
    my $self = shift;
    my $old  = $self->master;
    $self->{sentinels}[0]->command('SENTINEL', 'FAILOVER', $self->{name});
    wait_until($WITHIN, sub { my $new = $self->master; $new && $new != $old && $new->info->{role} eq 'master' })
        or croak 'Sentinel: no replica was promoted';
    return $self->master;
}

# True if the Sentinels' master is the only one, and all others follow it.
sub is_whole {
    my $self    = shift;
    my $master  = eval { $self->master } or return !!0;
    my @others  = grep { $_ != $master } $self->servers;
    my $info    = eval { $master->info } || {};
    my @follows = grep {
        my $other = eval { $_->info } || {};
        ($other->{master_link_status} // '') eq 'up'
    } @others;
    return ($info->{role} // '') eq 'master' && ($info->{connected_slaves} // -1) == @others && @follows == @others;
}

# Returns the Testing::Redis that the Sentinels take for the master; undef if it is none of this group.
sub master {
    my $self     = shift;
    my $address  = $self->{sentinels}[0]->command('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', $self->{name});
    my ($master) = grep { $_->port == $address->[1] } @{$self->{servers}};
    return $master;
}

# Why a group cannot run here; undef if it can. The program of a Sentinel is that of a server.
sub missing { return Testing::Redis->missing }

# All servers of Redis and all Sentinels: first the one that was the master at the beginning.
sub sentinels { return @{$_[0]{sentinels}} }
sub servers   { return @{$_[0]{servers}} }

sub start {
    my ($class, %option) = @_;
    my $self   = bless {name => $option{name} || 'mymaster', redis => $option{redis} || {}}, $class;
    my $master = Testing::Redis->start(%{$self->{redis}});
    my $count  = defined $option{replicas} ? $option{replicas} : 1;
    $self->{servers} = [$master, map { Testing::Redis->start(%{$self->{redis}}, replica_of => $master) } 1 .. $count];
    my $sentinels = $option{sentinels} || 1;
    my @watches   = ($self->{name}, $master->port, 1 + int($sentinels / 2), $option{password});
    $self->{sentinels} = [map { Testing::Sentinel::Process->start(@watches) } 1 .. $sentinels];
    wait_until $WITHIN, sub {
        !grep { !$self->_is_complete($_) } $self->sentinels;
    } or croak 'Sentinel: they do not find each other';
    return $self;
}

# Returns the URL with all Sentinels. Options: user, password (undef for none), database.
sub url {
    my ($self, %option) = @_;
    %option = (user => '', password => $self->{redis}{password}, database => 0, %option);
    my $login = defined $option{password} ? "$option{user}:$option{password}\@" : '';
    my $hosts = join ',', map { '127.0.0.1:' . $_->port } $self->sentinels;
    return "redis-sentinel://$login$hosts/$self->{name}/$option{database}";
}

# True if a Sentinel knows all others, and all replicas as connected.
sub _is_complete {
    my ($self, $sentinel) = @_;
    my $others   = $sentinel->command('SENTINEL', 'SENTINELS', $self->{name});
    my $replicas = $sentinel->command('SENTINEL', 'REPLICAS',  $self->{name});
    my @ready    = grep { my %replica = @$_; $replica{'master-link-status'} eq 'ok' } @$replicas;
    return @$others == $self->sentinels - 1 && @ready == $self->servers - 1;
}

# One Sentinel on a free port of 127.0.0.1, which watches a master. It ends with the object, and takes commands as
# Testing::Redis does.
package Testing::Sentinel::Process;

use parent -norequire, 'Testing::Redis';
use Testing::SourceTree qw(write_file);

my $DOWN_AFTER = 500;      # milliseconds
my $FAIL_OVER  = 5_000;    # milliseconds until another attempt

# Watches the master with that name and port; so many Sentinels have to agree that it is down. All have one password, or none.
sub start {
    my ($class, $name, $port, $quorum, $password) = @_;
    my $self = $class->new('Sentinel');
    $self->{login} = ['AUTH', $password] if defined $password;
    write_file(
        $self->_file,
        join '',
        map { "$_\n" } (
            'bind 127.0.0.1',
            'port ' . $self->port,
            'daemonize no',
            'dir ' . $self->folder,
            'unixsocket ' . $self->_socket,
            "sentinel monitor $name 127.0.0.1 $port $quorum",
            "sentinel down-after-milliseconds $name $DOWN_AFTER",
            "sentinel failover-timeout $name $FAIL_OVER",
            "sentinel auth-user $name testing",
            "sentinel auth-pass $name testing",
            defined $password ? "requirepass $password" : (),
        )
    );
    return $self->run({}, $self->_program, $self->_file, '--sentinel');
}

# A Sentinel has none of the users of Testing::Redis.
sub _login { return $_[0]{login} || () }

1;
