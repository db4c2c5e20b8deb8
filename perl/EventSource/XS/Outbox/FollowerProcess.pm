package EventSource::XS::Outbox::FollowerProcess;
use strict;
use warnings;

# A process that calls the steps of an EventSource::XS::Outbox::Follower. A driver waits for ever for a database that has fallen
# silent, and perl runs no handler of a signal meanwhile: so neither a worker nor a program that has to end may wait itself.
# Drivers that do not wait exist for some databases only, and have no deadline for a connection.
#
# It is a grandchild, as those of EventSource::XS::Stream::Child, and ends with whoever has started it, who has the other end of
# a socketpair, the leash: the process writes its lines there, and ends at its end. While it waits for the database the kernel's
# alarm is set, which ends it: no code has to run for that.
#
# SQLite knows in the memory of a process which locks that has on a file. They are not inherited, the memory is: so a file that
# was open in the parent must not be opened here.

use EventSource::XS::SocketPair;
use EventSource::XS::Stream::Child;
use IO::Handle;
use IO::Select;
use List::Util qw(first);
use POSIX      ();
use Socket     ();

my $CHILD = 'EventSource::XS::Stream::Child';
my $GRACE = 3;                                  # seconds to give up the lease

# Public methods

# Arguments: patience, the seconds for which a database may be silent; follower, code that returns a follower and takes what it
# needs of this process. Dies with the reason if there cannot be a process.
sub start {
    my ($class, %given) = @_;
    my $obstacle = $CHILD->obstacle;
    die "$obstacle\n" if defined $obstacle;
    my ($ours, $theirs) = EventSource::XS::SocketPair->open or die "socketpair: $!\n";
    open $given{null}, '+<', '/dev/null' or die "no /dev/null: $!\n";
    @given{qw(numbers process)} = ([$CHILD->descriptors], $$);
    my ($pid) = $CHILD->fork_twice(
        sub {
            close $ours;
            $class->_run($theirs, shift, %given);
        }
    ) or die "no process: $!\n";
    $ours->blocking(0);
    return bless {leash => $ours, pid => $pid, text => ''}, $class;
}

# Asks the process to end. It still has to give up its lease.
sub end { return shutdown $_[0]{leash}, 1 }

# The identity of a file, whatever its path is; undef if it is none.
sub file_of {
    my ($class, $path) = @_;
    my @stat = stat $path;
    return @stat && -f _ ? "$stat[0] $stat[1]" : undef;
}

sub has_ended { return $_[0]{has_ended} }

sub kill { return CORE::kill(KILL => $_[0]{pid}) }

# The handle that is readable when lines have come, or the process has ended.
sub leash { return $_[0]{leash} }

sub lines {
    my $self  = shift;
    my $count = sysread $self->{leash}, $self->{text}, 65_536, length $self->{text};
    $self->{has_ended} = defined $count ? !$count : !$!{EAGAIN} && !$!{EINTR};
    my @lines = $self->{text} =~ /(.*)\n/g;
    $self->{text} =~ s/.*\n//s;
    utf8::decode($_) for @lines;
    return @lines;
}

# Where the process that started it adopts orphans, as the first one of a container does, it is to be reaped.
sub reap { return waitpid $_[0]{pid}, POSIX::WNOHANG() }

# Private methods and functions, in the process

sub _run {
    my ($class, $leash, $reports, %given) = @_;
    my $is_ended;
    srand;
    $CHILD->default_signals;
    ## no critic (RequireLocalizedPunctuationVars)
    @SIG{qw(INT TERM)} = (sub { $is_ended = 1 }) x 2;
    $SIG{HUP}          = 'IGNORE';                          # of a terminal: whoever has started this process decides
    $0                 = 'eventsource outbox (follower)';
    ## use critic
    my %files = map { $_ => 1 } grep { defined } map { $class->file_of("/dev/fd/$_") } @{$given{numbers}};
    $CHILD->silence_descriptors(@given{qw(null numbers)}, map { fileno $_ } $leash, $reports);
    $CHILD->first_at_exit(sub { POSIX::_exit(shift) });
    syswrite $reports, "$$\n";
    close $reports;
    POSIX::sigprocmask(POSIX::SIG_SETMASK(), POSIX::SigSet->new);
    my $patience = $given{patience};
    my $follower = $given{follower}->(
        files    => \%files,
        patience => $patience,
        process  => $given{process},
        report   => sub { _write($leash, $_[0]) },
        wait_for => sub { alarm($_[0] eq 'database' ? $patience : 0) },    # calls of the hub have a deadline
    );

    while (!$is_ended) {
        my $pause  = $follower->step;
        my @others = $pause ? $follower->descriptors : ();
        alarm 0;
        last if first { $_ == $leash } IO::Select->new($leash, @others)->can_read($pause);
    }
    alarm $GRACE;
    $follower->stop;
    return POSIX::_exit(0);
}

# A reader that is stopped must not hold the process up.
sub _write {
    my ($leash, $text) = @_;
    utf8::encode($text);
    return send $leash, "$text\n", Socket::MSG_DONTWAIT() | Socket::MSG_NOSIGNAL();
}

1;
