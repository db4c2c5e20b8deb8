package Daemon;
use strict;
use warnings;

# A program that serves, started for a test on a free port of 127.0.0.1 or on a Unix socket in a folder of its own, and
# gone when the object is: stopped by its pid, its process group killed, reaped. What it printed is shown when the test
# fails. A class on top of this knows the command line.
#
#   my $self = $class->SUPER::new($name, unix => 1);
#   $self->run(\%environment, @command);

use Carp       qw(croak);
use Config     qw(%Config);
use Deadline   qw(wait_until);
use File::Spec ();
use File::Temp ();
use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX        qw(WNOHANG setpgid);
use Scalar::Util qw(weaken);
use Test::More;

# An interrupted test ends its servers too, and one whose prove is gone.
use sigtrap qw(die untrapped HUP INT PIPE TERM);

my $START_WITHIN = 30;    # seconds
my $STOP_WITHIN  = 5;     # seconds

# Where the tests are, wherever the program changes to.
my $T_LIB = File::Spec->rel2abs(__FILE__) =~ s{[/\\][^/\\]+\z}{}r;

# What runs of this process, by pid: it ends with the test, however the test ends.
my %RUNNING;

END {
    $SIG{PIPE} = 'IGNORE';
    $_->_finish for grep { defined } values %RUNNING;
}

# Public methods

# Where it listens, as Client wants it: a port of 127.0.0.1, or the path of a Unix socket.
sub at { return defined $_[0]{path} ? $_[0]{path} : $_[0]{port} }

# A folder of its own, gone with it.
sub folder { return $_[0]{folder}->dirname }

# All that it has printed so far.
sub log {
    my $self = shift;
    open my $lines, '<', $self->{log}->filename or return "no log: $!";
    local $/;
    return scalar readline $lines;
}

# One that does not run yet, by the name that its failures are reported under. With unix => 1 it is to listen on a Unix
# socket.
sub new {
    my ($class, $name, %option) = @_;
    my $self = bless {
        name   => $name,
        owner  => $$,
        folder => File::Temp->newdir(TEMPLATE => 'daemon-XXXXXX', TMPDIR => 1),
        log    => File::Temp->new(TEMPLATE => 'daemon-XXXXXX', TMPDIR => 1),
    }, $class;
    if ($option{unix}) { $self->{path} = $self->folder . '/socket' }
    else               { $self->_reserve_port }
    return $self;
}

# All of its processes that run.
sub pids {
    my $self = shift;
    my @pids;
    for my $file (glob '/proc/[0-9]*/stat') {
        open my $stat, '<', $file or next;
        my ($pid, $state, $group) = (readline($stat) // '') =~ /\A([0-9]+) \(.*\) ([A-Z]) [0-9]+ ([0-9]+) /s or next;
        push @pids, $pid if $group == $self->{pid} && $state ne 'Z';
    }
    return @pids;
}

sub port { return $_[0]{port} }

# Ends it with a signal, and starts it once more on the same port.
sub restart {
    my ($self, $signal) = @_;
    $signal = 'TERM' if !defined $signal;
    kill $signal => $signal eq 'KILL' ? -$self->{pid} : $self->{pid};
    wait_until($STOP_WITHIN, sub { $self->_has_ended && !$self->pids });
    $self->stop;
    delete $self->{status};
    return $self->run(@{$self->{started}});
}

# Starts it, and waits until it accepts connections.
sub run {
    my ($self, $environment, @command) = @_;
    $self->{started} = [$environment, @command];
    $self->_spawn($environment, @command);
    $self->_wait_until_it_accepts;
    return $self;
}

# Ends it and all that it has started.
sub stop {
    my $self = shift;
    my $pid  = $self->{pid};
    return if !$pid || $self->{owner} != $$ || !delete $RUNNING{$pid};
    local $?;
    if (!$self->_has_ended) {
        kill TERM => $pid;
        wait_until($STOP_WITHIN, sub { $self->_has_ended });
    }
    kill KILL => -$pid;
    waitpid $pid, 0 if !$self->_has_ended;
    return;
}

sub DESTROY {
    my $self = shift;
    local ($@, $!, $?) = ('', 0, 0);
    $self->_finish;
    return;
}

# Private functions and methods

sub _accepts {
    my $self = shift;
    return IO::Socket::UNIX->new(Peer     => $self->{path}) if defined $self->{path};
    return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{port}, Timeout => 1);
}

# perl, with what was built and t/lib in front.
sub _environment {
    my $given = shift || {};
    my @libs  = map { File::Spec->rel2abs($_) } 'blib/lib', 'blib/arch';
    my $path  = join $Config{path_sep}, @libs, $T_LIB, grep { defined && length } $ENV{PERL5LIB};
    return (%ENV, PERL5LIB => $path, %$given);
}

# Stops it, and shows what it printed if the test has not gone well.
sub _finish {
    my $self = shift;
    return if $self->{owner} != $$ || !$RUNNING{$self->{pid} // ''};
    my $failed = $?                || !Test::More->builder->is_passing;
    $self->stop;
    diag "$self->{name} printed:\n" . $self->log if $failed;
    return;
}

sub _has_ended {
    my $self = shift;
    if (!defined $self->{status} && waitpid($self->{pid}, WNOHANG) == $self->{pid}) { $self->{status} = $? }
    return defined $self->{status};
}

# Bound here, not listened on: no one else is given this port, and the program may still bind it.
sub _reserve_port {
    my $self = shift;
    $self->{reserved} = IO::Socket::INET->new(
        LocalAddr => '127.0.0.1',
        LocalPort => 0,
        ReuseAddr => 1,
        Proto     => 'tcp',
        Type      => SOCK_STREAM
    ) or croak "Daemon: no free port: $!";
    $self->{port} = $self->{reserved}->sockport;
    return;
}

sub _spawn {
    my ($self, $given, @command) = @_;
    my %environment = _environment($given);
    defined(my $pid = fork) or croak "Daemon: fork: $!";
    if (!$pid) {
        setpgid(0, 0);
        open STDIN,  '<',  File::Spec->devnull;
        open STDOUT, '>>', $self->{log}->filename;
        open STDERR, '>&', \*STDOUT;
        %ENV = %environment;
        exec {$command[0]} @command or print STDERR "$command[0]: $!\n";
        POSIX::_exit(127);
    }
    setpgid($pid, $pid);    # whoever comes first
    $self->{pid} = $pid;
    weaken($RUNNING{$pid} = $self);
    return;
}

sub _wait_until_it_accepts {
    my $self  = shift;
    my $ready = wait_until($START_WITHIN, sub { $self->_has_ended || $self->_accepts });
    return if $ready && !$self->_has_ended;
    my $what = $self->_has_ended ? "ended with status $self->{status}" : 'does not accept connections';
    $self->stop;
    croak "Daemon: $self->{name} $what. It printed:\n" . $self->log;
}

1;
