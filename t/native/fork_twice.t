# A worker forks a process, which forks another one. If one of them hangs, the worker waits until a deadline and kills it.

use lib 't/lib';
use Testing qw(native);

# The process between hangs where it forks.
my ($worker, $hangs);

BEGIN {
    $worker             = $$;
    *CORE::GLOBAL::fork = sub { sleep if $hangs && $$ != $worker; return CORE::fork() }
}

use EventSource::XS::Stream::Child;
use POSIX ();

use Testing::Process qw(zombies_of);

# Whoever holds the writing end of a pipe runs.
sub forked {
    my $code = shift;
    pipe my $reading, my $writing or die "pipe: $!";
    local $EventSource::XS::Stream::Child::DEADLINE = 0.2;
    my ($pid, $report) = EventSource::XS::Stream::Child->fork_twice($code);
    my $error = $! + 0;
    close $writing;
    my $set = '';
    vec($set, fileno $reading, 1) = 1;
    ok select($set, undef, undef, 10), 'all processes have ended';
    is_deeply [zombies_of($$)], [], 'they are reaped';
    return ($pid, $report, $error);
}

subtest 'a process that begins' => sub {
    my ($pid, $report) = forked(sub { syswrite $_[0], "$$\na reason\n" });
    like $pid, qr/\A[0-9]+\z/, 'its id is returned';
    is readline $report, "a reason\n", 'what it says further is for the caller';
};

subtest 'a process that ends before it begins' => sub {
    my ($pid, undef, $error) = forked(sub { POSIX::_exit(3) });
    is_deeply [$pid, $error], [undef, POSIX::ECHILD()], 'there is none';
};

subtest 'a process that hangs before it begins' => sub {
    my ($pid, undef, $error) = forked(sub { sleep });
    is_deeply [$pid, $error], [undef, POSIX::ETIMEDOUT()], 'there is none: it took too long';
};

subtest 'the process between hangs' => sub {
    $hangs = 1;
    my ($pid, undef, $error) = forked(sub { });
    $hangs = 0;
    is_deeply [$pid, $error], [undef, POSIX::ETIMEDOUT()], 'there is none: it took too long';
};

subtest 'a worker that ignores SIGCHLD' => sub {
    local $SIG{CHLD} = 'IGNORE';
    my ($pid) = forked(sub { syswrite $_[0], "$$\n" });
    like $pid, qr/\A[0-9]+\z/, 'a process begins';
};

subtest 'a server with threads' => sub {
    is(EventSource::XS::Stream::Child->obstacle, undef, 'no request has been seen');
    EventSource::XS::Stream::Child->see_request($_) for { 'psgi.multithread' => !!0 }
    , {};
    is(EventSource::XS::Stream::Child->obstacle, undef, 'a server without threads');
    EventSource::XS::Stream::Child->see_request($_) for { 'psgi.multithread' => !!1 }
    , {};
    like(
        EventSource::XS::Stream::Child->obstacle,
        qr/several threads.*processes instead/,
        'the obstacle and the remedy'
    );
};

done_testing;
