package Testing::Daemon;
use Testing;

# A server program, started for a test on a free port of 127.0.0.1 or on a Unix socket in a folder of its own. A subclass
# supplies the command line.
#
#   my $self = $class->SUPER::new($name, unix => 1);
#   $self->run(\%environment, @command);

use parent 'Testing::Program';
use Carp       qw(croak);
use File::Temp ();
use IO::Socket::INET;
use IO::Socket::UNIX;
use Testing::Port;

my $START_WITHIN = 30;    # seconds
my $STOP_WITHIN  = 5;     # seconds

# Returns the address as Testing::Client takes it: a port of 127.0.0.1, or the path of a Unix socket.
sub at { return defined $_[0]{path} ? $_[0]{path} : $_[0]{port} }

# Returns the daemon's folder, which is removed with the object.
sub folder { return $_[0]{folder}->dirname }

# With unix => 1 it is to listen on a Unix socket.
sub new {
    my ($class, $name, %option) = @_;
    my $self = $class->SUPER::new($name);
    $self->{folder} = File::Temp->newdir(TEMPLATE => 'daemon-XXXXXX', TMPDIR => 1);
    if ($option{unix}) { $self->{path} = $self->folder . '/socket' }
    else {
        $self->{reserved} = Testing::Port->new;
        $self->{port}     = $self->{reserved}->number;
    }
    return $self;
}

sub port { return $_[0]{port} }

# Ends it with a signal, and starts it once more on the same port, with another environment if that is given.
sub restart {
    my ($self, $signal, %environment) = @_;
    $signal = 'TERM' if !defined $signal;
    kill $signal => $signal eq 'KILL' ? -$self->{pid} : $self->{pid};
    wait_until($STOP_WITHIN, sub { $self->has_ended && !$self->pids });
    $self->stop;
    return $self->start_again(%environment);
}

# Starts it once more on the same port, when it has ended.
sub start_again {
    my ($self, %environment) = @_;
    delete $self->{status};
    my ($before, @command) = @{$self->{started}};
    return $self->run({%{$before || {}}, %environment}, @command);
}

# Starts one, or skips the test if it is missing here. The arguments are those of start.
sub start_or_skip_all {
    my $class = shift;
    $class->require_or_skip_all(@_);
    return $class->start(@_);
}

# Starts it, and waits until it accepts connections.
sub run {
    my ($self, $environment, @command) = @_;
    $self->{started} = [$environment, @command];
    $self->SUPER::run($environment, @command);
    $self->_wait_until_it_accepts;
    return $self;
}

sub _accepts {
    my $self = shift;
    return IO::Socket::UNIX->new(Peer     => $self->{path}) if defined $self->{path};
    return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{port}, Timeout => 1);
}

sub _wait_until_it_accepts {
    my $self  = shift;
    my $ready = wait_until($START_WITHIN, sub { $self->has_ended || $self->_accepts });
    return if $ready && !$self->has_ended;
    my $what = $self->has_ended ? "ended with status $self->{status}" : 'does not accept connections';
    $self->stop;
    croak "Daemon: $self->{name} $what. It printed:\n" . $self->log;
}

1;
