package Testing::Machine;
use Testing;

# One of several machines that share a store: a folder of its own for the sockets of hubs, so a hub process of its own, and a
# Starman with two workers (t/data/machine.psgi). All of it ends with the object.
#
#   my @machines = map { Testing::Machine->start({redis => $redis->url}) } 1, 2;
#   my $id       = $machines[0]->publish(news => 'hello');
#   $machines[1]->kill_hub;

use Carp                       qw(croak);
use JSON::PP                   ();
use Testing::Client            ();
use Testing::Process           qw(hubs_at stop_hub_process);
use Testing::Server            qw(path);
use Testing::ControlledProcess qw(output_of);

my $WORKERS = 2;
my $NAME    = 'shop';
my $JSON    = JSON::PP->new->canonical;

# Requests a path. Returns the body of the answer; undef if there is none.
sub ask {
    my ($self, $path, %query) = @_;
    my $to     = path($path, %query);
    my $client = eval { Testing::Client->get($self->port, $to, headers => [Connection => 'close']) } or return undef;
    my $body   = eval { $client->read_all && $client->complete } ? $client->body : undef;
    $client->leave;
    return $body;
}

# Ends the application, and starts it anew on the same port with other settings of the hub, whose process stays.
sub deploy {
    my ($self, %settings) = @_;
    %{$self->{hub}} = (%{$self->{hub}}, %settings);
    return $self->{server}->restart(TERM => HUB_SETTINGS => $JSON->encode($self->{hub}));
}

# Ends everything, and makes a test of it that nothing is left.
sub end_ok {
    my $self = shift;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $self->{server}->stop;
    $self->stop_hub if $self->hubs;
    my $ended = wait_until($DEADLINE, sub { !$self->hubs });
    my @files = grep { !/[.](?:lock|log|seen)\z/ } glob "$self->{folder}/*";
    return is_deeply([$ended ? 'ended' : $self->hubs, @files], ['ended'], 'no process or socket is left');
}

# Returns the processes that serve the hub of this machine, as the kernel lists them.
sub hubs { return hubs_at($_[0]->_socket) }

# Kills the hub process, and waits until it has ended. Returns its id.
sub kill_hub {
    my $self = shift;
    my ($pid) = $self->hubs or croak 'Machine: there is no hub process';
    kill KILL => $pid;
    wait_until $DEADLINE, sub {
        my %now = map { ($_ => 1) } $self->hubs;
        !$now{$pid};
    } or croak 'Machine: the hub process does not end';
    return $pid;
}

# The path of a stream of topics: channels, patterns.
sub path_of { my ($self, %topics) = @_; return path('/hub', %topics) }

# Where a command finds the hub.
sub place { my $self = shift; return (name => $NAME, socket => $self->_socket, autostart => 0) }

sub port { return $_[0]{server}->port }

# Publishes an event with more fields. Returns the id, or a text that begins with error.
sub publish {
    my ($self, $channel, $data, %fields) = @_;
    my $path = delete $fields{in_job} ? '/job' : '/publish';
    return $self->ask($path, channel => $channel, data => $data, %fields) // 'error unanswered';
}

# Publishes until it succeeds. Without `once` the event may be published twice.
sub publish_at_last {
    my ($self, @event) = @_;
    my $id;
    wait_until($DEADLINE, sub { ($id = $self->publish(@event)) !~ /\Aerror/ }) or croak "Machine: $id";
    return $id;
}

# Skips the test file if something is missing here that every machine needs.
sub require_or_skip_all {
    Testing->need('named_hubs');
    return Testing::Server->require_or_skip_all('Starman');
}

# Ends the whole application with its hub, and starts it anew on the same port, with other settings of the hub if given.
sub restart {
    my ($self, %settings) = @_;
    $self->{server}->stop;
    $self->stop_hub if $self->hubs;
    wait_until($DEADLINE, sub { !$self->hubs }) or croak 'Machine: the hub process does not end';
    return $self->deploy(%settings);
}

sub server { return $_[0]{server} }

# Starts a machine with a store; undef for memory. More settings of the hub may follow, and env, more of the environment, and
# workers.
sub start {
    my ($class, $store, %settings) = @_;
    my %env     = %{delete $settings{env} || {}};
    my $workers = delete $settings{workers} // $WORKERS;
    my %hub =
        (name => $NAME, store => $store, publish_timeout => 5, idle_exit => 5, grace => 5, retry => 100, %settings);
    my $self = bless {folder => new_folder, hub => \%hub}, $class;
    $self->{server} = Testing::Server->start(
        'Starman', 't/data/machine.psgi',
        workers => $workers,
        env     => {HUB_SETTINGS => $JSON->encode(\%hub), EVENTSOURCE_RUNTIME_DIR => "$self->{folder}", %env},
    );
    return $self;
}

# Stops the hub process.
sub stop_hub { return stop_hub_process($_[0]->place) }

# Returns the counters of the hub.
sub stats {
    my $self = shift;
    my $text = $self->ask('/stats') // croak 'Machine: no answer';
    return eval { $JSON->decode($text) } || croak "Machine: $text";
}

# Waits until a condition of the counters is true, for so many seconds if that is given, and makes a test of it.
sub stats_ok {
    my ($self, $condition, $what, $seconds) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $stats;
    my $is_so = wait_until $seconds // $DEADLINE, sub {
        $stats = eval { $self->stats };
        $stats && $condition->($stats);
    };
    return ok($is_so, $what) || diag(explain($stats));
}

# Upgrades the hub process. Returns why it does not continue as another program; an empty string if it does.
sub upgrade {
    my $self    = shift;
    my @command = (EventSource::Hub::Process->program, 'upgrade', '--name', $NAME, '--socket', $self->_socket);
    my ($status, $printed) = output_of(@command);
    return $status ? $printed || 'it failed' : '';
}

sub upgrade_ok {
    my $self = shift;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return is($self->upgrade, '', 'the hub process continues as another program');
}

sub _socket { return "$_[0]{folder}/$NAME.sock" }

1;
