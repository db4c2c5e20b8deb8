package Peer::NamedHub;
use strict;
use warnings;

# This module's named hub on Starman, with a worker for each core: bench/streams/app.psgi. The hub process has the streams, the
# workers have the requests. It has no store, unless it is started here, when it also serves clients with a ticket itself.

use parent 'Peer';
use EventSource::Hub::Process;
use EventSource::XS ();
use File::Temp      ();
use Peer::Program;
use Processes         qw(end_hub hub);
use Testing::Deadline qw(wait_until);
use Testing::Server;

my $SERVER  = 'Starman, without preloading';    # so that HUP loads the application anew
my $WORKERS = 2;
my $ENDS    = 10;                               # seconds

# Public methods

sub application { return $_[0]{http} ? $_[0]{program}->port : undef }

sub asked { return -s $_[0]{asked} || 0 }

sub gap { return 'gap' }

sub install_with {
    return [qw(apt-get install -y --no-install-recommends starman)];
}

# The next request starts another one, unless it was started here.
sub kill_hub {
    my $self = shift;
    return $self->{http}->restart('KILL') if $self->{http};
    kill KILL => hub($self->{socket});
    return;
}

sub missing {
    my $missing = Testing::Server->missing($SERVER);
    return defined $missing ? "$missing (apt-get install starman)" : undef;
}

sub open {
    my ($self, %option) = @_;
    $self->{folder} = File::Temp->newdir(TEMPLATE => 'bench-XXXXXX', TMPDIR => 1);
    my $asked  = $self->{asked}  = "$self->{folder}/asked";
    my $socket = $self->{socket} = "$self->{folder}/hub";
    my %env    = (BENCH_HUB => 1, BENCH_HUB_SOCKET => $socket, BENCH_ASKED => $asked, %{$option{env} || {}});
    $self->_start_hub($option{store}) if $option{http};
    $self->{program} = Testing::Server->start($SERVER, 'bench/streams/app.psgi', workers => $WORKERS, env => \%env);
    return;
}

sub pids {
    my $self = shift;
    return ($self->{program}->pids, hub($self->{socket}));
}

sub place_to_publish { return ($_[0]->SUPER::place_to_publish, port => $_[0]{program}->port) }

# Returns where clients that return connect.
sub port { return $_[0]{http} ? $_[0]{http}->port : $_[0]->SUPER::port }

# Starman replaces its workers, which load the application. Waits until the former ones have ended.
sub reload {
    my $self   = shift;
    my $master = $self->{program}->pid;
    my %before = map { ($_ => 1) } grep { $_ != $master } $self->{program}->pids;
    kill HUP => $master;
    wait_until(
        $ENDS,
        sub {
            !grep { $before{$_} } $self->{program}->pids;
        }
    );
    return;
}

sub stop {
    my $self = shift;
    $self->SUPER::stop;
    if ($self->{http}) {
        $_->stop for grep { defined } @$self{qw(http redis)};
    }
    else { end_hub($self->{socket}) }
    return;
}

sub upgrade {
    my $self    = shift;
    my @command = (qw(-Iblib/lib -Iblib/arch bin/eventsource hub upgrade bench --socket), $self->{socket});
    system($^X, @command) == 0 or die "hub upgrade: status $?\n";
    return;
}

# A kill is followed by a start, as with systemd.
sub _start_hub {
    my ($self, $store) = @_;
    my $hub     = $self->{http} = Peer::Program->new('eventsource-hub');
    my @options = ('--name', 'bench', '--socket', $self->{socket}, '--http', '127.0.0.1:' . $hub->port);
    push @options, '--store', $store eq 'file' ? "file:$self->{folder}/events.db" : $self->_start_redis if $store;
    return $hub->run({}, EventSource::Hub::Process->program, 'run', @options);
}

# Returns its URL.
sub _start_redis {
    my $self  = shift;
    my $redis = $self->{redis} = Peer::Program->new('redis-server');
    $redis->run({}, 'redis-server', '--bind', '127.0.0.1', '--port', $redis->port, '--save', '');
    return 'redis://127.0.0.1:' . $redis->port . '/0';
}

sub version {
    my $starman = eval { require Starman; Starman->VERSION } || '?';
    return "EventSource::XS $EventSource::XS::VERSION, Starman $starman, perl " . sprintf '%vd', $^V;
}

1;
