package Program;
use strict;
use warnings;

# A Perl program of this distribution that runs beside a test, and is ended with it, by its pid.
#
#   my $crowd = Program->start(['examples/live/crowd', $server->url(''), 40], LIVE_SECRET => $secret);

use Carp         qw(croak);
use Deadline     qw(wait_until);
use File::Spec   ();
use File::Temp   ();
use POSIX        qw(WNOHANG);
use Scalar::Util qw(weaken);
use Test::More;

my $STOP_WITHIN = 5;    # seconds

# Those of this process that run, by pid.
my %RUNNING;

END {
    $_->_finish for grep { defined } values %RUNNING;
}

# Public methods

# All that it has printed so far.
sub log {
    my $self = shift;
    open my $lines, '<', $self->{log}->filename or return "no log: $!";
    local $/;
    return readline($lines) // '';
}

sub pid { return $_[0]{pid} }

# Takes the program and its arguments, and what its environment has besides.
sub start {
    my ($class, $command, %environment) = @_;
    my $self = bless {
        name  => $command->[0],
        owner => $$,
        log   => File::Temp->new(TEMPLATE => 'program-XXXXXX', TMPDIR => 1),
    }, $class;
    defined(my $pid = fork) or croak "Program: fork: $!";
    if (!$pid) {
        open STDIN,  '<',  File::Spec->devnull;
        open STDOUT, '>>', $self->{log}->filename;
        open STDERR, '>&', \*STDOUT;
        @ENV{keys %environment} = values %environment;
        exec {$^X} $^X, '-Mblib', @$command or POSIX::_exit(127);
    }
    $self->{pid} = $pid;
    weaken($RUNNING{$pid} = $self);
    return $self;
}

# Ends it; its status.
sub stop {
    my $self = shift;
    return $self->{status} if $self->{owner} != $$ || !delete $RUNNING{$self->{pid}};
    local ($?, $!);
    kill TERM => $self->{pid};
    kill KILL => $self->{pid} if !wait_until($STOP_WITHIN, sub { $self->_has_ended });
    waitpid $self->{pid}, 0 if !$self->_has_ended;
    return $self->{status} //= $?;
}

sub DESTROY {
    my $self = shift;
    local ($@, $!, $?) = ('', 0, 0);
    $self->_finish;
    return;
}

# Private methods

# Stops it, and shows what it printed if the test has not gone well.
sub _finish {
    my $self = shift;
    return if $self->{owner} != $$ || !$RUNNING{$self->{pid}};
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

1;
