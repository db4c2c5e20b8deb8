package Test::EventSource::Server;
use strict;
use warnings;

# A real PSGI server on a free port of 127.0.0.1. Between it and the test stands a process that ends it, and all that it has
# forked, when the test wants it or is gone, however it went.

our $VERSION = '0.100';

use parent 'Test::EventSource::Remote';
use Carp       qw(croak shortmess);
use File::Spec ();
use File::Temp ();
use IO::Select;
use IO::Socket::INET;
use POSIX        qw(WNOHANG setpgid);
use Scalar::Util qw(weaken);
use Socket       qw(AF_UNIX PF_UNSPEC SOCK_STREAM);
use Test::Builder;
use Time::HiRes qw(sleep time);

our @CARP_NOT = qw(Test::EventSource);

my $START_WITHIN = 30;      # seconds
my $STOP_WITHIN  = 2;       # seconds, before it is killed
my $LOOK_EVERY   = 0.02;    # seconds

# How a server is told how many processes it is to have. Others have one.
my %WORKERS = (Feersum => '--pre-fork', Starlet => '--max-workers', Starman => '--workers');

# What runs of this process: it ends with the test, however the test ends.
my %RUNNING;

END {
    local $SIG{PIPE} = 'IGNORE';
    $_->_finish for grep { defined } values %RUNNING;
}

# Public methods

# Whether a server is installed, as far as its files show: to load it here would change this process.
sub is_installed {
    my ($class, $name) = @_;
    my @files = map { s{::}{/}gr . '.pm' } $name, "Plack::Handler::$name";
    for my $file (@files) {
        return !!0 if !grep { !ref && -e "$_/$file" } @INC;
    }
    return !!1;
}

# All that it has printed so far.
sub log {
    my $self = shift;
    CORE::open my $lines, '<', $self->{log}->filename or return "no log: $!";
    local $/;
    return readline($lines) // '';
}

# Options: app, a code reference or the path of a .psgi; server; workers; server_args; env, variables of its environment.
sub new {
    my ($class, %option) = @_;
    my $name = $option{server};
    croak "Test::EventSource: the server $name is not installed" if !$class->is_installed($name);
    croak "Test::EventSource: $name has one process, workers cannot be set"
        if defined $option{workers} && !$WORKERS{$name};
    my $self = bless {
        %option,
        owner  => $$,
        host   => '127.0.0.1',
        log    => File::Temp->new(TEMPLATE => 'test-eventsource-XXXXXX', TMPDIR => 1),
        prefix => '',
    }, $class;
    $self->_reserve_port;
    return $self->start;
}

# The process of the server, undef if it does not run.
sub pid { return $_[0]{pid} }

# Starts it, and waits until it accepts connections.
sub start {
    my $self = shift;
    croak 'Test::EventSource: the server runs already' if $self->{pid};
    socketpair my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC or croak "Test::EventSource: no socketpair: $!";
    $self->not_inherited($ours);
    defined(my $keeper = fork) or croak "Test::EventSource: no fork: $!";
    if (!$keeper) {
        eval { $self->_keep($theirs); 1 } or print STDERR $@;
        POSIX::_exit(1);
    }
    CORE::close $theirs;
    weaken($RUNNING{$keeper} = $self);
    @$self{qw(keeper line)} = ($keeper, $ours);
    ($self->{pid}) = (readline($ours) // '') =~ /\A([0-9]+)\n/;
    $self->_wait_until_it_accepts;
    return $self;
}

# Ends it and all that it has started.
sub stop {
    my $self   = shift;
    my $keeper = delete $self->{keeper};
    return if !$keeper || $self->{owner} != $$;
    delete $RUNNING{$keeper};
    local ($?, $!);
    local $SIG{PIPE} = 'IGNORE';
    syswrite $self->{line}, 'x';    # a child of the test may hold the line too
    CORE::close delete $self->{line};
    delete $self->{pid};
    waitpid $keeper, 0;
    return;
}

sub DESTROY {
    my $self = shift;
    local ($@, $!, $?) = ('', 0, 0);
    $self->_finish;
    return;
}

# Private functions and methods

# What plackup is told.
sub _arguments {
    my $self    = shift;
    my @workers = defined $self->{workers} ? ($WORKERS{$self->{server}}, $self->{workers}) : ();
    my @listens = ('--host', $self->{host}, '--port', $self->{port});
    return ('-s', $self->{server}, '-E', 'deployment', @listens, @workers, @{$self->{server_args} || []});
}

# Whether a child ends within so many seconds.
sub _ends_within {
    my ($pid, $seconds) = @_;
    my $deadline = time + $seconds;
    while (waitpid($pid, WNOHANG) == 0) {
        return !!0 if time >= $deadline;
        sleep $LOOK_EVERY;
    }
    return !!1;
}

# Stops it, and shows what it printed if the test has not gone well.
sub _finish {
    my $self = shift;
    return if $self->{owner} != $$ || !$self->{keeper};
    my $test   = Test::Builder->new;
    my $failed = $? || !$test->is_passing;
    $self->stop;
    my $news = $self->news;
    $test->diag("$self->{server} printed:\n$news") if $failed && length $news;
    return;
}

sub _has_ended {
    my $self = shift;
    return _ends_within($self->{keeper}, 0);
}

# Starts the server and ends it when the test has let go of the line or is gone; returns no more.
sub _keep {
    my ($self, $line) = @_;
    $self->_leave_the_test;
    $SIG{$_} = 'IGNORE' for qw(HUP INT TERM);    # what ends the test ends the line
    my $server = fork;
    if (defined $server && !$server) {
        CORE::close $line;
        setpgid(0, 0);
        $SIG{$_} = 'DEFAULT' for qw(HUP INT TERM);
        eval { $self->_serve; 1 } or print STDERR $@;
        POSIX::_exit(255);
    }
    POSIX::_exit(1) if !$server;
    setpgid($server, $server);                   # whoever comes first
    syswrite $line, "$server\n";
    my $select = IO::Select->new($line);
    until (_ends_within($server, 0)) {
        next if !$select->can_read($LOOK_EVERY);
        kill TERM => $server;
        last if _ends_within($server, $STOP_WITHIN);
        kill KILL => -$server;
        waitpid $server, 0;
        last;
    }
    kill KILL => -$server;                                                 # the workers that it has left behind
    my $deadline = time + $STOP_WITHIN;
    while (_runs($server) && time < $deadline) { sleep $LOOK_EVERY }
    my $is_told = IO::Select->new($line)->can_read(0) ? sysread $line, my $word, 1 : 1;
    unlink $self->{log}->filename if defined $is_told && $is_told == 0;    # the test is gone and cannot
    POSIX::_exit(0);
    return;
}

# A child is no test: what it prints is for the log, and it holds none of the connections.
sub _leave_the_test {
    my $self = shift;
    $self->close_inherited;
    $SIG{$_} = 'DEFAULT' for qw(ALRM CHLD HUP INT PIPE QUIT TERM USR1 USR2 __DIE__ __WARN__);
    CORE::open STDIN,  '<',  File::Spec->devnull;
    CORE::open STDOUT, '>>', $self->{log}->filename;
    CORE::open STDERR, '>&', \*STDOUT;
    STDOUT->autoflush(1);
    my $test = Test::Builder->new;
    $test->no_ending(1);
    $test->$_(\*STDOUT) for qw(output failure_output todo_output);
    return;
}

# Bound here, not listened on: no one else is given this port, and the server may still bind it.
sub _reserve_port {
    my $self = shift;
    $self->{reserved} = IO::Socket::INET->new(
        LocalAddr => $self->{host},
        LocalPort => 0,
        ReuseAddr => 1,
        Proto     => 'tcp',
        Type      => SOCK_STREAM,
    ) or croak "Test::EventSource: no free port: $@";
    $self->{port} = $self->{reserved}->sockport;
    return;
}

# Whether a process of a group is left. What has ended and waits for init to notice is none, where that can be seen.
sub _runs {
    my $group = shift;
    return !!0 if !kill 0 => -$group;
    return !!1 if !-r '/proc/self/stat';
    for my $file (glob '/proc/[0-9]*/stat') {
        CORE::open my $stat, '<', $file or next;
        my ($state, $of) = (readline($stat) // '') =~ /\A[0-9]+ \(.*\) ([A-Z]) [0-9]+ ([0-9]+) /s or next;
        return !!1 if $of == $group && $state !~ /[XZ]/;
    }
    return !!0;
}

# An application that is a file gets a perl of its own; one that is code, a copy of this.
sub _serve {
    my $self = shift;
    %ENV  = (%ENV, %{$self->{env} || {}});
    @ARGV = ();
    my $app = $self->{app};
    if (!ref $app) {
        my @perl =
            ($^X, (map { "-I$_" } grep { !ref } @INC), '-MPlack::Runner', '-e', 'Plack::Runner->run(@ARGV)', '--');
        exec {$perl[0]} @perl, $self->_arguments, '-a', $app or die "$perl[0]: $!\n";
    }
    require Plack::Runner;
    my $runner = Plack::Runner->new;
    $runner->parse_options($self->_arguments);
    $runner->run($app);
    exit 0;
}

sub _wait_until_it_accepts {
    my $self     = shift;
    my $deadline = time + $START_WITHIN;
    my $trouble;
    while (!$trouble) {
        if    (!$self->{pid} || $self->_has_ended) { $trouble = 'ended' }
        elsif (IO::Socket::INET->new(PeerAddr => $self->{host}, PeerPort => $self->{port}, Timeout => 1)) { return }
        elsif (time > $deadline) { $trouble = 'does not accept connections' }
        else                     { sleep $LOOK_EVERY }
    }
    $self->stop;
    die shortmess("Test::EventSource: $self->{server} $trouble") . "It printed:\n" . $self->log;
}

1;
__END__

=encoding utf8

=head1 NAME

Test::EventSource::Server - A PSGI server that ends with the test

=head1 SYNOPSIS

    use Test::EventSource::Server;

    my $server = Test::EventSource::Server->new(app => sub { [200, [], ['hello']] }, server => 'HTTP::Server::PSGI');
    my $url    = $server->url;
    $server->stop;

=head1 DESCRIPTION

Starts a server on a free port of 127.0.0.1, for L<Test::EventSource>. It is an L<Test::EventSource::Remote>.

=head1 METHODS

=head2 new

    my $server = Test::EventSource::Server->new(app => $app, server => 'Starman', workers => 2);

Takes the options of L<Test::EventSource/new>, and starts the server.

=head2 is_installed

    my $there = Test::EventSource::Server->is_installed('Starman');

Whether a server and its L<Plack::Handler> can be found.

=head2 log

    my $text = $server->log;

All that it has printed.

=head2 pid

    my $pid = $server->pid;

Its process, which leads a group of those that it has forked; C<undef> while it is stopped.

=head2 start

    $server->start;

Starts it, and waits until it accepts connections, 30 seconds at most. Croaks if it does not, with what it has printed.

=head2 stop

    $server->stop;

Tells it to end, by C<TERM>, and kills it and all that it has forked two seconds later.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
