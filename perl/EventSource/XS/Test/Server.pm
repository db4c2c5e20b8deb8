package EventSource::XS::Test::Server;
use strict;
use warnings;

# A real PSGI server on a free port of 127.0.0.1. A keeper process between it and the test ends it, with everything that
# it has forked, when the test stops it or ends in any way. The keeper and the test share a pair of sockets, the line: a
# byte on it stops the server, and so does its end.

use parent 'EventSource::XS::Test::Remote';
use EventSource::Error;
use EventSource::XS::Settings;
use EventSource::XS::SocketPair;
use File::Spec ();
use File::Temp ();
use IO::Select;
use IO::Socket::INET;
use POSIX        qw(WNOHANG setpgid);
use Scalar::Util qw(weaken);
use Socket       qw(SOCK_STREAM);
use Test::Builder;
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime sleep);

my $SETTINGS = EventSource::XS::Settings->new('Test::EventSource');

my $START_WITHIN = 30;      # seconds
my $STOP_WITHIN  = 2;       # seconds, then the server is killed
my $GONE_WITHIN  = 30;      # seconds, for what was killed
my $POLL_EVERY   = 0.02;    # seconds

# The option for the number of worker processes. Other servers have one process.
my %WORKERS = (Feersum => '--pre-fork', Starlet => '--max-workers', Starman => '--workers');

# The running servers of this process, by their keepers. They are stopped at the end of the test.
my %RUNNING;

END {
    local $SIG{PIPE} = 'IGNORE';
    $_->_finish for grep { defined } values %RUNNING;
}

# Public methods

# Looks for files only, since loading the server would change this process.
sub is_installed {
    my ($class, $name) = @_;
    my @files = map { s{::}{/}gr . '.pm' } $name, "Plack::Handler::$name";
    for my $file (@files) {
        return !!0 if !grep { !ref && -e "$_/$file" } @INC;
    }
    return !!1;
}

sub log {
    my $self = shift;
    CORE::open my $lines, '<', $self->{log}->filename or return "no log: $!";
    local $/;
    return readline($lines) // '';
}

sub new {
    my ($class, %option) = @_;
    my $name = $option{server};
    $SETTINGS->throw('unsupported', "the server $name is not installed", 'server') if !$class->is_installed($name);
    $SETTINGS->throw('invalid',     "$name has one process, workers cannot be set", 'workers')
        if defined $option{workers} && !$WORKERS{$name};
    my $self = bless {
        %option,
        owner  => $$,
        host   => '127.0.0.1',
        log    => File::Temp->new(TEMPLATE => 'test-eventsource-XXXXXX', TMPDIR => 1),
        prefix => '',
    }, $class;

    # A port that is bound without listening: the system gives it to no other process, but the server can bind it.
    my %port = (LocalAddr => $self->{host}, LocalPort => 0, ReuseAddr => 1, Proto => 'tcp', Type => SOCK_STREAM);
    $self->{reserved} = IO::Socket::INET->new(%port) or $SETTINGS->throw('unavailable', "no free port: $@");
    $self->{port}     = $self->{reserved}->sockport;
    return $self->start;
}

sub pid { return $_[0]{pid} }

sub start {
    my $self = shift;
    $SETTINGS->throw('state', 'the server is running already') if $self->{pid};
    my ($ours, $theirs) = EventSource::XS::SocketPair->open or $SETTINGS->throw('unavailable', "no socketpair: $!");
    $self->not_inherited($ours);
    defined(my $keeper = fork) or $SETTINGS->throw('unavailable', "no fork: $!");
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

sub stop {
    my $self   = shift;
    my $keeper = delete $self->{keeper};
    return if !$keeper || $self->{owner} != $$;
    delete $RUNNING{$keeper};
    local ($?, $!);
    local $SIG{PIPE} = 'IGNORE';
    syswrite $self->{line}, 'x';    # If a child of the test has the line too, closing it would not end it.
    CORE::close delete $self->{line};
    delete $self->{pid};
    return if _ends_within($keeper, $STOP_WITHIN + 2 * $GONE_WITHIN);
    kill KILL => $keeper;
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

# Returns the arguments of plackup.
sub _arguments {
    my $self    = shift;
    my @workers = defined $self->{workers} ? ($WORKERS{$self->{server}}, $self->{workers}) : ();
    my @listens = ('--host', $self->{host}, '--port', $self->{port});
    return ('-s', $self->{server}, '-E', 'deployment', @listens, @workers, @{$self->{server_args} || []});
}

# Waits for the end of a child. Returns false if it has not ended within so many seconds.
sub _ends_within {
    my ($pid, $seconds) = @_;
    my $deadline = clock_gettime(CLOCK_MONOTONIC) + $seconds;
    while (waitpid($pid, WNOHANG) == 0) {
        return !!0 if clock_gettime(CLOCK_MONOTONIC) >= $deadline;
        sleep $POLL_EVERY;
    }
    return !!1;
}

# Stops the server, and shows what it has printed if the test has failed.
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

# Runs in the keeper: starts the server, and ends it when the line is written to or ends. Does not return.
sub _keep {
    my ($self, $line) = @_;
    $self->_leave_the_test;
    $SIG{$_} = 'IGNORE' for qw(HUP INT TERM);    # The end of the test ends the line.
    my $server = fork;
    if (defined $server && !$server) {
        CORE::close $line;
        setpgid(0, 0);
        $SIG{$_} = 'DEFAULT' for qw(HUP INT TERM);
        eval { $self->_serve; 1 } or print STDERR $@;
        POSIX::_exit(255);
    }
    POSIX::_exit(1) if !$server;
    setpgid($server, $server);                   # The child calls this too; either may be first.
    syswrite $line, "$server\n";
    my $select = IO::Select->new($line);
    until (_ends_within($server, 0)) {
        next if !$select->can_read($POLL_EVERY);
        kill TERM => $server;
        last if _ends_within($server, $STOP_WITHIN);
        kill KILL => -$server;
        waitpid $server, 0;
        last;
    }
    kill KILL => -$server;                                                 # its remaining workers
    my $deadline = clock_gettime(CLOCK_MONOTONIC) + $GONE_WITHIN;
    while (_runs($server) && clock_gettime(CLOCK_MONOTONIC) < $deadline) { sleep $POLL_EVERY }
    my $is_told = IO::Select->new($line)->can_read(0) ? sysread $line, my $word, 1 : 1;
    unlink $self->{log}->filename if defined $is_told && $is_told == 0;    # The test has ended and cannot remove it.
    POSIX::_exit(0);
    return;
}

# Runs in the keeper: prints to the log instead of the test's output, and closes the test's connections.
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

# Returns true if a process of the group is running. Where /proc exists, zombies do not count, except those whose threads still
# live: these have the server's sockets.
sub _runs {
    my $group = shift;
    return !!0 if !kill 0 => -$group;
    return !!1 if !-r '/proc/self/stat';
    for my $file (glob '/proc/[0-9]*/stat') {
        CORE::open my $stat, '<', $file or next;
        my ($pid, $state, $of) = (readline($stat) // '') =~ /\A([0-9]+) \(.*\) ([A-Z]) [0-9]+ ([0-9]+) /s or next;
        next if $of != $group;
        my @threads = glob "/proc/$pid/task/[0-9]*";
        return !!1 if $state !~ /[XZ]/ || @threads > 1;
    }
    return !!0;
}

# Runs the server: in a perl of its own if the application is a file, in this process if it is code.
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
    my $deadline = clock_gettime(CLOCK_MONOTONIC) + $START_WITHIN;
    my $problem;
    while (!$problem) {
        if    (!$self->{pid} || _ends_within($self->{keeper}, 0)) { $problem = 'ended' }
        elsif (IO::Socket::INET->new(PeerAddr => $self->{host}, PeerPort => $self->{port}, Timeout => 1)) { return }
        elsif (clock_gettime(CLOCK_MONOTONIC) > $deadline) { $problem = 'does not accept connections' }
        else                                               { sleep $POLL_EVERY }
    }
    $self->stop;
    my $place = EventSource::Error->here->{location};
    die "Test::EventSource: $self->{server} $problem${place}It printed:\n" . $self->log;
}

1;
