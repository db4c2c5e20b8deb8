package EventSource::XS::Signals;
use strict;
use warnings;

# Code that a handler of a signal must not interrupt.
#
# perl runs the handler of a signal that has come just before as soon as sigprocmask has returned. If that handler dies, the
# signals must not stay blocked, so that moment is within the eval.
#
# SIGPIPE is not blocked: it comes of a write of the code itself, and while it is blocked the system keeps it even if it is
# ignored. Then it would kill the process when the local "ignore" of that write is over.

use Exporter qw(import);
use POSIX    qw(SIG_BLOCK SIG_SETMASK SIGPIPE sigprocmask);

our @EXPORT_OK = qw(without_signals);

my $ALL = POSIX::SigSet->new;
$ALL->fillset;
$ALL->delset(SIGPIPE);
my $NONE = POSIX::SigSet->new;

# Runs $code while all other signals are blocked. Returns its scalar, or dies of its exception. $@ stays, and $? is the
# caller's in $code too: a local one would hide the status of an exit there.
sub without_signals {
    my $code   = shift;
    my $before = POSIX::SigSet->new;
    sigprocmask(SIG_BLOCK, $NONE, $before);
    my ($is_done, $result, $exception);
    {
        local $@;
        $is_done = eval {
            sigprocmask(SIG_BLOCK, $ALL);
            $result = $code->();
            1;
        };
        $exception = $@;
    }
    sigprocmask(SIG_SETMASK, $before);
    die $exception if !$is_done;
    return $result;
}

1;
