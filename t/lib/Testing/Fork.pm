package Testing::Fork;
use strict;
use warnings;

# Code of a test that runs in a forked child, or in a thread.
#
#   my $ended = in_child(sub { return $hub->epoch });
#   isnt $ended->(), $hub->epoch, 'a child has an epoch of its own';
#
#   my $child = fork_child(sub { my $to = shift; syswrite $to, 'open'; ... }, sub { exit $_[0] });
#   is child_end($child), 'open', 'the child has printed';
#
#   my @seen = in_thread sub { ...; return @seen };

use Exporter qw(import);
use POSIX    ();

our @EXPORT_OK = qw(child_end fork_child in_child in_thread);

# Waits for a child to end. Returns what it has printed, and before that its status if that is not 0.
sub child_end {
    my $child = shift;
    my $said  = do { local $/; readline $child->{from} };
    waitpid $child->{pid}, 0;
    return $? ? "status $?: $said" : $said;
}

# Begins to run code in a child, with a handle whose text the parent can read. Then `leave` ends the child: it is called with 1
# if the code has died, else with 0. Returns a hash of the child's pid, and from, the other end of the handle.
sub fork_child {
    my ($code, $leave) = @_;
    pipe my $from, my $to or die "pipe: $!";
    defined(my $pid = fork) or die "fork: $!";
    if (!$pid) {
        close $from;
        my $ended = eval { $code->($to); 1 };
        syswrite $to, "died: $@" if !$ended;
        $leave->($ended ? 0 : 1);
    }
    close $to;
    return {pid => $pid, from => $from};
}

# Begins to run code in a child, which runs no END block. Returns a function that waits for the child and returns what the code
# has returned, as one string.
sub in_child {
    my $code  = shift;
    my $child = fork_child(sub { syswrite $_[0], join ' ', $code->() }, sub { POSIX::_exit(0) });
    return sub { return child_end($child) };
}

# Runs code in a thread, and returns what it returns. The test loads threads.
sub in_thread { return threads->create({context => 'list'}, shift)->join }

1;
