package Server;
use strict;
use warnings;

# A real PSGI server, started for a test on a free port of 127.0.0.1 and gone when the object is: stopped by its pid, its
# process group killed, reaped. What it printed is shown when the test fails.
#
#   my $server = Server->start('Starman', 't/data/contract.psgi', workers => 3);
#   get($server->url('/one'));

use Carp       qw(croak);
use Config     qw(%Config);
use Deadline   qw(wait_until);
use Developer  qw(needs only_developers);
use File::Spec ();
use File::Temp ();
use IO::Socket::INET;
use POSIX        qw(WNOHANG setpgid);
use Scalar::Util qw(weaken);
use Test::More;

# An interrupted test ends its servers too.
use sigtrap qw(die untrapped HUP INT TERM);

my $START_WITHIN = 30;    # seconds
my $STOP_WITHIN  = 5;     # seconds

# How each server is started: the module it needs, and its command line for an application, a port and a number of
# processes.
my %SERVER = (
    'HTTP::Server::PSGI' =>
        {needs => 'HTTP::Server::PSGI', command => sub { _plackup('HTTP::Server::PSGI', @_[0, 1]) }},
    'Starman' => {needs => 'Starman', command => sub { _plackup('Starman', @_[0, 1], '--workers',     $_[2] || 3) }},
    'Starlet' => {needs => 'Starlet', command => sub { _plackup('Starlet', @_[0, 1], '--max-workers', $_[2] || 3) }},
    'Twiggy'  => {needs => 'Twiggy',  command => sub { _plackup('Twiggy', @_[0, 1]) }},
    'Feersum' => {
        needs   => 'Feersum',
        command => sub { _plackup('Feersum', @_[0, 1], $_[2] ? ('--pre-fork', $_[2]) : ()) },
    },
    'uWSGI' => {needs => undef, command => sub { _uwsgi(@_[0, 1], $_[2] || 3) }},
);

# Where the tests are, wherever the server changes to.
my $T_LIB = File::Spec->rel2abs(__FILE__) =~ s{[/\\][^/\\]+\z}{}r;

# The servers of this process that run, by pid: they end with the test, however it ends.
my %RUNNING;

END {
    $_->_finish for grep { defined } values %RUNNING;
}

# Public methods

# All that the server has printed so far.
sub log {
    my $self = shift;
    open my $lines, '<', $self->{log}->filename or return "no log: $!";
    local $/;
    return scalar readline $lines;
}

# Why a server cannot run here; undef if it can.
sub missing {
    my ($class, $name) = @_;
    my $how = $SERVER{$name} or croak "Server: there is no server '$name'";
    $how->{missing} = $how->{needs} ? _missing_module($how->{needs}) : _missing_uwsgi() if !exists $how->{missing};
    return $how->{missing};
}

# All processes of the server that run.
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

# Ends the test file, green, if the server is not here; with EVENTSOURCE_XS_FULL, everything has to be.
sub require_or_skip_all {
    my ($class, $name) = @_;
    only_developers();
    return needs($class->missing($name));
}

# Options: workers, a number of processes; env, a hash; args, more arguments of the server's own.
sub start {
    my ($class, $name, $psgi, %option) = @_;
    if (my $missing = $class->missing($name)) { croak "Server: $missing" }
    croak "Server: $psgi: $!" if !-r $psgi;

    # Bound here, not listened on: no one else is given this port, and the server may still bind it.
    my $reserved = IO::Socket::INET->new(
        LocalAddr => '127.0.0.1',
        LocalPort => 0,
        ReuseAddr => 1,
        Proto     => 'tcp',
        Type      => SOCK_STREAM
    ) or croak "Server: no free port: $!";
    my $self = bless {
        name     => $name,
        port     => $reserved->sockport,
        reserved => $reserved,
        owner    => $$,
        log      => File::Temp->new(TEMPLATE => 'server-XXXXXX', TMPDIR => 1),
    }, $class;
    my @command = $SERVER{$name}{command}->(File::Spec->rel2abs($psgi), $self->{port}, $option{workers});
    $self->_spawn($option{env}, @command, @{$option{args} || []});
    $self->_wait_until_it_accepts;
    return $self;
}

# Ends the server and all that it has started.
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

sub url { return "http://127.0.0.1:$_[0]{port}" . ($_[1] // '/') }

sub DESTROY {
    my $self = shift;
    local ($@, $!, $?);
    $self->_finish;
    return;
}

# Private functions and methods

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

sub _missing_module {
    my $module  = shift;
    my $trouble = _output($^X, "-M$module", '-e', '1');
    return $? ? "$module cannot be loaded: " . ($trouble =~ s/\n.*//sr) : undef;
}

# uWSGI has a perl of its own inside; it must be the one that the library was built for.
sub _missing_uwsgi {
    my $probe = File::Temp->new(SUFFIX => '.psgi');
    print {$probe} 'use Config; print STDERR "perl: $Config{version} $Config{archname}\n"; sub { [200, [], []] }';
    CORE::close $probe;
    my $said = _output(qw(uwsgi --plugins psgi --no-server --need-app --psgi), $probe->filename);
    return 'uwsgi with its psgi plugin cannot be run' if $said !~ /^perl: (.*)$/m;
    return $1 eq "$Config{version} $Config{archname}" ? undef : "uwsgi was built for another perl: $1";
}

# What a command prints; $? is its status.
sub _output {
    my @command = @_;
    my $pid     = open my $out, '-|';
    croak "Server: fork: $!" if !defined $pid;
    if (!$pid) {
        open STDERR, '>&', \*STDOUT;
        exec {$command[0]} @command or POSIX::_exit(127);
    }
    my $text = do { local $/; readline $out };
    CORE::close $out;
    return $text // '';
}

sub _plackup {
    my ($server, $psgi, $port, @more) = @_;
    my @perl = ($^X, '-MPlack::Runner', '-e', 'Plack::Runner->run(@ARGV)', '--');
    return (@perl, '-s', $server, qw(-E deployment --host 127.0.0.1), '--port', $port, '-a', $psgi, @more);
}

sub _spawn {
    my ($self, $given, @command) = @_;
    my %environment = _environment($given);
    defined(my $pid = fork) or croak "Server: fork: $!";
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

sub _uwsgi {
    my ($psgi, $port, $workers) = @_;
    return (qw(uwsgi --plugins psgi --master --die-on-term --need-app --psgi-enable-psgix-io --disable-logging),
        '--http-socket', "127.0.0.1:$port", '--workers', $workers, '--psgi', $psgi);
}

sub _wait_until_it_accepts {
    my $self    = shift;
    my $accepts = sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{port}, Timeout => 1) };
    my $ready   = wait_until($START_WITHIN, sub { $self->_has_ended || $accepts->() });
    return if $ready && !$self->_has_ended;
    my $what = $self->_has_ended ? "ended with status $self->{status}" : 'does not accept connections';
    $self->stop;
    croak "Server: $self->{name} $what. It printed:\n" . $self->log;
}

1;
