package Testing::ControlledProcess;
use strict;
use warnings;

# The base class of processes that a test starts and controls: each command is a line, and so is its answer. The process
# ends with the object, or with the process of the test.
#
#   package Testing::CuttableProxy;
#   use parent 'Testing::ControlledProcess';
#   sub start { my $class = shift; return $class->launch(sub { my $control = shift; ... }, port => 5000) }
#   sub cuts  { return $_[0]->ask('cuts') }

use Carp       qw(croak);
use Exporter   qw(import);
use File::Spec ();
use IO::Handle ();
use IO::Select ();
use IO::Socket::INET;
use POSIX        ();
use Scalar::Util qw(weaken);
use Socket       qw(AF_UNIX PF_UNSPEC SOCK_STREAM);

our @EXPORT_OK = qw(output_of);

my $WITHIN = 10;    # seconds, for an answer

# The objects of this process whose processes run, by pid.
my %RUNNING;

# A thread has copies, and the processes are not its own.
sub CLONE {
    $_->{owner} = 0 for grep { defined } values %RUNNING;
    %RUNNING = ();
    return;
}

END {
    $_->stop for grep { defined } values %RUNNING;
}

# Sends a command and returns its answer.
sub ask {
    my ($self, $command) = @_;
    my $class = ref $self;
    print {$self->{control}} "$command\n"                or croak "$class: $!";
    IO::Select->new($self->{control})->can_read($WITHIN) or croak "$class: no answer to $command";
    my $answer = readline $self->{control};
    croak "$class: the process has ended" if !defined $answer;
    chomp $answer;
    return $answer;
}

# Runs the code in a process of its own, and returns an object with the given members. The code gets a socket. It reads
# commands from it, answers each, and returns when the socket is closed.
sub launch {
    my ($class, $serve, %members) = @_;
    socketpair my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC or croak "$class: $!";
    defined(my $pid = fork) or croak "$class: fork: $!";
    if (!$pid) {
        close $_ for $ours, map { $_->{control} } grep { defined } values %RUNNING;   # others end when theirs is closed
        $SIG{PIPE} = 'IGNORE';
        eval { $serve->($theirs); 1 } or print STDERR "$class: $@";
        POSIX::_exit(0);
    }
    $ours->autoflush(1);
    my $self = bless {%members, owner => $$, pid => $pid, control => $ours}, $class;
    weaken($RUNNING{$pid} = $self);
    return $self;
}

# Does the same with a command. The socket is its standard input, and a file has its output.
sub launch_program {
    my ($class, $log, $command, %members) = @_;
    my $become = sub {
        my $control = shift;
        open STDIN,  '<&', $control or die "stdin: $!\n";
        open STDOUT, '>>', $log     or die "$log: $!\n";
        open STDERR, '>&', \*STDOUT or die "stderr: $!\n";
        exec {$command->[0]} @$command or die "$command->[0]: $!\n";
    };
    return $class->launch($become, %members);
}

# Returns a socket that listens on a free port of 127.0.0.1.
sub listener {
    my $class = shift;
    return IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 128, ReuseAddr => 1)
        || croak "$class: no free port: $!";
}

# Runs a command, and returns its status and all output.
sub output_of {
    my @command = @_;
    my $pid     = open my $out, '-|';
    croak "$command[0]: fork: $!" if !defined $pid;
    if (!$pid) {
        open STDIN,  '<',  File::Spec->devnull;
        open STDERR, '>&', \*STDOUT;
        exec {$command[0]} @command or POSIX::_exit(127);
    }
    local $?;
    my $text = do { local $/; readline $out };
    close $out;
    return ($?, $text // '');
}

sub stop {
    my $self = shift;
    return if $self->{owner} != $$ || !delete $RUNNING{$self->{pid}};
    local ($?, $!);
    close $self->{control};    # the process ends when this is closed
    waitpid $self->{pid}, 0;
    return;
}

sub DESTROY { $_[0]->stop; return }

1;
