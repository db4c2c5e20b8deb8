package EventSource::XS::Stream::Child;
use strict;
use warnings;

# A child process that continues a native stream, so that its worker is free.
#
# The child is a grandchild: its own parent exits at once. So the worker has no child to reap, and the server's handler of
# SIGCHLD meets none. A socketpair, the leash, connects both processes. Its ends are streams of their reactors: the worker
# sees by it that the child has ended, and the child that the worker has. The child's reactor ends the child when the client
# disconnects or the leash breaks, whatever the child does then. The child closes its copies of all other connections, because
# these would keep them open when the worker ends them.
#
# Where the server sends the head of a response after the handler, the child is started then. Until then the stream is promised
# to it: the application of the worker can use it no more.

use EventSource::XS::ErrorLog;
use EventSource::XS::Library;
use EventSource::XS::Loop;
use EventSource::XS::Settings;
use EventSource::XS::Signals qw(without_signals);
use EventSource::XS::SocketPair;
use EventSource::XS::Stream::Native;
use IO::Handle;
use IO::Select;
use List::Util   qw(min);
use POSIX        ();
use Scalar::Util qw(blessed);
use Time::HiRes  qw(CLOCK_MONOTONIC clock_gettime);

my $SETTINGS = EventSource::XS::Settings->new('Plack::App::EventSource::Connection');

my %DEFAULT = (grace => 5, max_children => 100);

my $FOLDER = '/proc/self/fd';

# Milliseconds to wait until the pushed events are sent: where the server blocks, and in an event loop.
my ($BLOCKING, $LOOPING) = (2_000, 100);

# Seconds between two looks whether they are sent, if the child can wait.
my $SENT_INTERVAL = 0.1;

# The result of spawn for a child that has no process id yet. It is not a number, so that kill refuses it.
my $LATER = 'later';

# The settings of a leash. It carries no bytes.
my %LEASH = (
    is_loop      => 1,
    keepalive    => 0,
    linger       => 0,
    max_buffered => 65_536,
    on_full      => 'disconnect',
    opening      => '',
    timeout      => 60,
);

# Signals whose handlers belong to the server.
my @SIGNALS = qw(ALRM CHLD HUP INT QUIT TERM TTIN TTOU URG USR1 USR2 WINCH);

# The leashes of the children that run, by the names of these streams.
my %LEASHES;

# The arguments of start for streams whose heads are still to be sent, by the names of the streams.
my %WAITING;

# The process id of the child, in it and in processes that it forks; and of the last process that has begun to end.
my ($spawned, $leaving) = (0, 0);

# Seconds within which a child begins. A test has less.
our $DEADLINE = 10;    ## no critic (ProhibitPackageVars)

# Seconds between two looks whether the process between has ended.
my $LOOK_INTERVAL = 0.001;

# True once a request has said that its server has several threads.
my $has_threads = 0;

# The reasons for which there was no child, and that this process has told.
my %HAS_WARNED;

# The code that runs at the exit of a child.
my $AT_EXIT;

sub CLONE { %LEASHES = %WAITING = (); return }

# Public methods

# Throw an exception if an option of spawn has a wrong value. Returns the options with their defaults.
sub check {
    my ($class, %given) = @_;
    $SETTINGS->known(\%given, [keys %DEFAULT], 'option %s of spawn');
    $SETTINGS->seconds(grace => $given{grace});
    $SETTINGS->whole_number(max_children => $given{max_children}, from => 1);
    return (%DEFAULT, map { defined $given{$_} ? ($_ => $given{$_}) : () } keys %given);
}

# The children that run and those that are promised.
sub count {
    return keys(%WAITING) + grep { $_->is_open } values %LEASHES;
}

# Handlers of signals belong to the server and to the application of the parent.
sub default_signals {
    $SIG{$_}   = 'DEFAULT' for @SIGNALS, grep { $SIG{$_} && !/\A__/ } keys %SIG;    ## no critic (RequireLocalized)
    $SIG{PIPE} = 'IGNORE';                                                          ## no critic (RequireLocalized)
    return;
}

# The numbers of this process's descriptors.
sub descriptors {
    opendir my $entries, $FOLDER or return;
    return map { /\A([0-9]+)\z/ ? $1 : () } readdir $entries;                       # untainted
}

# An exit runs END blocks, the last one first. Those of the server and of the application are the parent's.
sub first_at_exit {
    (undef, $AT_EXIT) = @_;
    ## no critic (ProhibitStringyEval) only so it is the last one
    eval 'END { $AT_EXIT->($?) if $AT_EXIT } 1' or EventSource::XS::ErrorLog->write(undef, 'EventSource::XS', $@);
    ## use critic
    return;
}

# Forks twice. Returns when the process between has been reaped and the grandchild has begun. No handler of a signal runs
# before: in a child it would be the parent's, and in the parent a handler of SIGCHLD would reap a process that it does not
# know.
sub fork_twice {
    my ($class, $code) = @_;
    pipe my $id,     my $ids     or return;
    pipe my $report, my $reports or return;
    my $status = $?;                # a local one would hide the status of an exit in the child
    my $child  = without_signals(
        sub {
            my $between = fork;
            if (defined $between && !$between) {
                my $child = fork;
                close $_ for $id, $report, $child ? () : $ids;
                syswrite $ids, "$child\n" if $child;
                EventSource::XS::ErrorLog->call_back({}, 'EventSource::XS: a child process', $code, $reports)
                    if defined $child && !$child;
                POSIX::_exit(defined $child ? 0 : 1);
            }
            my $error = $! + 0;
            close $_ for $ids, $reports;
            (my $child, $error) = _begun($between, $id, $report) if defined $between;
            ($!, $?) = ($error, $status);    ## no critic (RequireLocalizedPunctuationVars) for the caller
            return $child;
        }
    );
    return $child ? ($child, $report) : ();
}

# Perl has locks of its own, which a thread may have taken when another thread forks. The child would wait for them for ever.
sub obstacle {
    return $has_threads
        ? 'the server has several threads, so no process can be forked: give it processes instead of threads'
        : undef;
}

# Why no child can ever continue a stream; undef if one can.
sub obstacle_of {
    my ($class, $stream) = @_;
    my $is_native = $stream && $stream->is_native;
    return $class->obstacle
        // ($spawned ? 'this process is a spawned child already' : $is_native ? undef : 'the stream is not native');
}

# A server has threads or has none, so one request of its process says it for all.
sub see_request {
    my ($class, $env) = @_;
    $has_threads ||= $env->{'psgi.multithread'};
    return;
}

# Replaces those descriptors of a child, by their numbers, that are its parent's sockets, pipes and queues by /dev/null, but for
# the log and those to be kept: copies would keep open what the parent ends. Files stay: the application may use some.
sub silence_descriptors {
    my ($class, $null, $numbers, @kept) = @_;
    my %kept = map { $_ => 1 } 1, 2, @kept;
    POSIX::dup2(fileno $null, $_)
        for grep { !$kept{$_} && (readlink "$FOLDER/$_" || '') =~ /\A(?:socket|pipe|anon_inode):/ } @$numbers;
    return;
}

# Start a child that runs $code with the connection. Returns its process id, "later" if the head of the stream is still to be
# sent, or false.
sub start {
    my ($class, $connection, $code, %option) = @_;
    my $stream = $connection->stream;
    return $class->_refuse("worker $$ runs as many handlers in children as max_children allows, $option{max_children}:"
            . ' raise it, or publish to an EventSource::Hub')
        if $class->count >= $option{max_children};
    return $class->_promise($connection, $code, %option) if !$stream->is_attached;
    return !!0 if !_is_sent($stream, $stream->is_blocking ? $BLOCKING : $LOOPING);
    return $class->_fork($connection, $code, %option);
}

# The server has sent the head of a stream. Starts the child that it is promised to, once the pushed events are sent. A stream
# whose child cannot be started ends: its handler has returned.
sub start_promised {
    my ($class, $stream, $milliseconds) = @_;
    return if !%WAITING;
    my $name    = $stream->_name;
    my $waiting = $WAITING{$name} or return;
    $stream->_promise(0);
    if (_is_sent($stream, defined $milliseconds ? $milliseconds : $LOOPING)) {
        delete $WAITING{$name};
        $class->_fork(@{$waiting->{start}}) or $stream->close('error');
    }
    elsif ($stream->is_open) {
        $stream->_promise(1);
        my $again = sub { $class->start_promised($stream, 0) };
        $waiting->{timer} = EventSource::XS::Loop->current->after($SENT_INTERVAL, $again);
    }
    return;
}

# Private functions and methods

# Reaps the process between. Returns the id of the grandchild if that has begun; otherwise undef and an error. What takes
# too long is killed.
sub _begun {
    my ($between, $id, $report) = @_;
    my $until = clock_gettime(CLOCK_MONOTONIC) + $DEADLINE;
    my ($child, $error) = _number_from($id, $until);
    _reap($between, $until);
    return (undef, $error) if !$child;
    my ($begun, $problem) = _number_from($report, $until);
    return $child if $begun;
    kill KILL => $child if $problem == POSIX::ETIMEDOUT();    # otherwise it has ended
    return (undef, $problem);
}

# Forks a child that takes the stream over. Everything that was pushed has been sent. Returns its process id, or false.
sub _fork {
    my ($class, $connection, $code, %option) = @_;
    my $stream = $connection->stream;
    my ($ours, $theirs)  = EventSource::XS::SocketPair->open or return $class->_refuse("socketpair: $!");
    my ($child, $report) = $class->fork_twice(
        sub {
            my $reports = shift;
            close $ours;
            $class->_run($connection, $code, $theirs, $reports, %option);
        }
    );
    close $theirs;
    return $stream->is_open ? $class->_refuse("no child: $!") : !!0 if !$child;
    $class->_release($stream, $ours, $report);
    return $child;
}

# Reads one line, and nothing beyond it. Returns its number; otherwise undef and an error.
sub _number_from {
    my ($handle, $until) = @_;
    my $select = IO::Select->new($handle);
    my $line   = '';
    until ($line =~ /\n/) {
        my $left = $until - clock_gettime(CLOCK_MONOTONIC);
        return (undef, POSIX::ETIMEDOUT()) if $left <= 0 || !$select->can_read($left);
        return (undef, POSIX::ECHILD()) if !sysread $handle, $line, 1, length $line;
    }
    return $line =~ /\A([0-9]+)\n/;
}

# Waits for a process until a time, and kills it then. If this process ignores SIGCHLD, there is none left that has ended.
sub _reap {
    my ($pid, $until) = @_;
    while (!waitpid $pid, POSIX::WNOHANG()) {
        kill KILL => $pid if clock_gettime(CLOCK_MONOTONIC) >= $until;
        Time::HiRes::sleep($LOOK_INTERVAL);
    }
    return;
}

# The stream goes to the child without what its client has not been sent.
sub _is_sent {
    my ($stream, $milliseconds) = @_;
    until ($stream->_wait_until_sent(min 20, $milliseconds)) {
        return !!0 if !$stream->is_open || ($milliseconds -= 20) <= 0;
    }
    return !!1;
}

# If the stream ends before its head is sent, there is no child.
sub _promise {
    my ($class, $connection, @rest) = @_;
    my $stream = $connection->stream;
    my $name   = $stream->_name;
    $WAITING{$name} = {start => [$connection, @rest]};
    $stream->on_close(sub { delete $WAITING{$name} });
    $stream->_promise(1);
    return $LATER;
}

# The child's reason for the end of its stream.
sub _reason_in {
    my $report = shift;
    $report->blocking(0);
    my $count = sysread $report, my $reason, 20;
    return $count && $reason =~ /\A([a-z]+)/ ? $1 : 'error';
}

# The stream is the child's from here on. Its callbacks of this process run when the child has ended.
sub _release {
    my ($class, $stream, $ours, $report) = @_;
    my $number  = EventSource::XS::_duplicate(fileno $ours);
    my ($leash) = defined $number ? EventSource::XS::Stream::Native->try_open($number, '', %LEASH) : ();
    my $name    = $leash ? $leash->_name : '';
    $LEASHES{$name} = $leash if $leash;
    $stream->hand_over($leash, sub { delete $LEASHES{$name}; return _reason_in($report) });
    return;
}

# Tells the application, once for a process and a reason. The caller of spawn sees the result.
sub _refuse {
    my ($class, $reason) = @_;
    EventSource::XS::ErrorLog->warn("Plack::App::EventSource::Connection: spawn: $reason\n") if !$HAS_WARNED{$reason}++;
    return !!0;
}

# The child's life.
sub _run {
    my ($class, $connection, $code, $theirs, $reports, %option) = @_;
    $spawned = $$;
    %LEASHES = ();           # closes the copies of other leashes
    POSIX::setpgid(0, 0);    # commands that the child runs end with it
    $class->default_signals;
    srand;
    my $stream = $connection->stream;
    my $leash  = EventSource::XS::Stream::Native->open(EventSource::XS::_duplicate(fileno $theirs), '', %LEASH);
    close $theirs;
    $stream->forget_callbacks;        # they run in the parent
    $stream->_leave_other_clients;
    return if !$stream->write('');    # makes it a stream of this process
    syswrite $reports, "$$\n";        # before any reason
    $_->_end_process_too($option{grace}, fileno $reports) for $stream, $leash;
    $class->first_at_exit(sub { $class->_leave($stream, $reports, 'application', shift) });
    POSIX::sigprocmask(POSIX::SIG_SETMASK(), POSIX::SigSet->new);
    $connection->enter_child;
    my $returned  = eval { $code->($connection); 1 };
    my $exception = $@;
    my $is_error  = !$returned && !(blessed $exception && eval { $exception->isa('EventSource::Gone') });
    EventSource::XS::ErrorLog->write($option{errors}, 'Plack::App::EventSource: the spawned handler died', $exception)
        if $is_error;
    return $class->_leave($stream, $reports, $is_error ? ('error', 255) : ('application', 0));
}

# Ends this process: sends what is buffered, runs the callbacks that the child has registered, and skips all else that would run
# at the end of its parent. A process that the child has forked leaves the stream to it.
sub _leave {
    my ($class, $stream, $reports, $reason, $status) = @_;
    POSIX::_exit($status) if $leaving == $$;
    $leaving = $$;
    eval {
        if ($$ == $spawned) {
            my $ended = $stream->_want_end;
            syswrite $reports, (defined $ended ? $ended : $reason) . "\n";    # before the leash ends
            $stream->close($reason);
        }
        EventSource::XS::_finish();
        EventSource::XS->dispatch;
        1;
    } or EventSource::XS::ErrorLog->write(undef, 'EventSource::XS: a child process', $@);
    for my $handle (*STDOUT, *STDERR) {
        eval { $handle->flush }
    }
    return POSIX::_exit($status);
}

1;
