package Testing::Fork;
use strict;
use warnings;

# Code of a test that runs in a forked child.
#
#   my $ended = in_child(sub { return $hub->epoch });
#   isnt $ended->(), $hub->epoch, 'a child has an epoch of its own';

use Exporter qw(import);
use POSIX    ();

our @EXPORT_OK = qw(in_child);

# Begins to run code in a child, which runs no END block. Returns a function that waits for the child and returns what the code
# has returned, as one string.
sub in_child {
    my $code = shift;
    pipe my $from, my $to or die "pipe: $!";
    defined(my $pid = fork) or die "fork: $!";
    if (!$pid) {
        close $from;
        my $said = eval { join ' ', $code->() };
        syswrite $to, defined $said ? $said : "died: $@";
        POSIX::_exit(0);
    }
    close $to;
    return sub {
        my $said = do { local $/; readline $from };
        waitpid $pid, 0;
        return $? ? "status $?: $said" : $said;
    };
}

1;
