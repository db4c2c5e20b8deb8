package Testing::Program;
use Testing;

# A program that runs beside a test and ends with the object: it is stopped by its pid, its process group is killed, and it
# is reaped. Its output is shown when the test fails.
#
#   my $crowd = Testing::Program->start(['examples/live/crowd', $server->url(''), 40], LIVE_SECRET => $secret);
#   my $other = Testing::Program->new('other')->run(\%environment, @command);

use Carp             qw(croak);
use Config           qw(%Config);
use Testing::Process qw(is_running processes_of_group);
use File::Spec       ();
use File::Temp       ();
use POSIX            qw(WNOHANG setpgid);
use Scalar::Util     qw(weaken);

# An interrupted test ends its programs too, and so does a test whose prove has ended.
use sigtrap qw(die untrapped HUP INT PIPE TERM);

my $STOP_WITHIN = 5;     # seconds, then it is killed
my $GONE_WITHIN = 30;    # seconds, for what was killed

# The absolute path of the tests' folder. It stays valid if the program changes its working directory.
my $T_LIB = File::Spec->rel2abs(__FILE__) =~ s{(?:[/\\][^/\\]+){2}\z}{}r;

# The running programs of this process, by pid. They end with the test, however it ends.
my %RUNNING;

END {
    $SIG{PIPE} = 'IGNORE';
    $_->_finish for grep { defined } values %RUNNING;
}

# Asks it to end, before its process group is killed; a subclass may have another way.
sub ask_to_end { my $self = shift; kill TERM => $self->pid; return }

sub has_ended {
    my $self = shift;
    if (!defined $self->{status} && waitpid($self->{pid}, WNOHANG) == $self->{pid}) { $self->{status} = $? }
    return defined $self->{status};
}

# Runs in the new process before the program: for a subclass.
sub prepare_child { return }

# Returns all output so far.
sub log {
    my $self = shift;
    open my $lines, '<', $self->{log}->filename or return "no log: $!";
    local $/;
    return readline($lines) // '';
}

# Returns a program that does not run yet. Failures are reported under its name.
sub new {
    my ($class, $name) = @_;
    return bless {
        name  => $name,
        owner => $$,
        log   => File::Temp->new(TEMPLATE => 'program-XXXXXX', TMPDIR => 1),
    }, $class;
}

sub pid { return $_[0]{pid} }

# Returns the pids of all its running processes.
sub pids { return processes_of_group($_[0]{pid}) }

# Returns the pids of the running processes that write to its log and have left its group, as the children of spawn do.
sub strays {
    my $self   = shift;
    my %is_own = map { ($_ => 1) } $self->pids;
    my @pids;
    for my $file (glob '/proc/[0-9]*/fd/2') {
        my ($pid) = $file =~ m{([0-9]+)};
        push @pids, $pid if !$is_own{$pid} && (readlink $file // '') eq $self->{log}->filename && is_running($pid);
    }
    return @pids;
}

# Starts it.
sub run {
    my ($self, $given, @command) = @_;
    my %environment = _environment($given);
    defined(my $pid = fork) or croak "Program: fork: $!";
    if (!$pid) {
        setpgid(0, 0);

        # A shell ignores signals for its background jobs, and whatever they start ignores them, too.
        $SIG{$_} = 'DEFAULT' for grep { ($SIG{$_} // '') eq 'IGNORE' } keys %SIG;
        open STDIN,  '<',  File::Spec->devnull;
        open STDOUT, '>>', $self->{log}->filename;
        open STDERR, '>&', \*STDOUT;
        %ENV = %environment;
        $self->prepare_child;
        exec {$command[0]} @command or print STDERR "$command[0]: $!\n";
        POSIX::_exit(127);
    }
    setpgid($pid, $pid);    # in both processes, for either may run first
    $self->{pid} = $pid;
    weaken($RUNNING{$pid} = $self);
    return $self;
}

# Runs a Perl program of this distribution: it and its arguments, and what its environment has besides.
sub start {
    my ($class, $command, %environment) = @_;
    return $class->new($command->[0])->run(\%environment, $^X, @$command);
}

# Ends the program and all processes that it has started, and waits until they have gone: then nobody listens on their ports
# any more. Returns its status.
sub stop {
    my $self = shift;
    my $pid  = $self->{pid};
    return $self->{status} if !$pid || $self->{owner} != $$ || !delete $RUNNING{$pid};
    local ($?, $!);
    if (!$self->has_ended) {
        $self->ask_to_end;
        wait_until($STOP_WITHIN, sub { $self->has_ended });
    }
    kill KILL => -$pid;
    $self->wait_for_end;
    wait_until($GONE_WITHIN, sub { !$self->pids });
    return $self->{status};
}

# Waits until it ends by itself. Returns its status.
sub wait_for_end {
    my $self = shift;
    if (!$self->has_ended) {
        waitpid $self->{pid}, 0;
        $self->{status} = $?;
    }
    return $self->{status};
}

sub DESTROY {
    my $self = shift;
    local ($@, $!, $?) = ('', 0, 0);
    $self->_finish;
    return;
}

# perl, with what was built and t/lib in front.
sub _environment {
    my $given = shift || {};
    my @libs  = map { File::Spec->rel2abs($_) } 'blib/lib', 'blib/arch';
    my $path  = join $Config{path_sep}, @libs, $T_LIB, grep { defined && length } $ENV{PERL5LIB};
    return (%ENV, PERL5LIB => $path, %$given);
}

# Stops the program, and shows its output if the test has failed.
sub _finish {
    my $self = shift;
    return if $self->{owner} != $$ || !$RUNNING{$self->{pid} // ''};
    my $failed = $?                || !Test::More->builder->is_passing;
    $self->stop;
    diag "$self->{name} printed:\n" . $self->log if $failed;
    return;
}

1;
