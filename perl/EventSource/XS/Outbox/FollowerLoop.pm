package EventSource::XS::Outbox::FollowerLoop;
use strict;
use warnings;

# Keeps a process that follows an outbox running (EventSource::XS::Outbox::FollowerProcess), and reports its lines: in the event
# loop of a worker, or in a program of its own until a signal ends that.

use EventSource::XS::ErrorLog;
use EventSource::XS::Outbox::FollowerProcess;
use IO::Select;
use POSIX        qw(ceil);
use Scalar::Util qw(weaken);
use Time::HiRes  qw(CLOCK_MONOTONIC clock_gettime);

my $AGAIN = 1;    # seconds until another process is started
my $GRACE = 3;    # seconds for the end of the process, at the end of its program
my $LATE  = 5;    # seconds until an event loop that calls nothing does not run

# Seconds for which a database may be silent, or the lease if that is longer. A test has less.
our $PATIENCE = 10;    ## no critic (ProhibitPackageVars)

# Public methods

# Arguments: follower, code (EventSource::XS::Outbox::FollowerProcess); lease; report; table. The follower runs as long as the
# object that is returned.
sub in_loop {
    my ($class, $loop, %given) = @_;
    my $self = $class->_new(%given, begun_at => clock_gettime(CLOCK_MONOTONIC), loop => $loop);
    weaken(my $weak = $self);
    $self->{step} = sub { $weak->_step if $weak };
    $self->_continue(0);
    return $self;
}

# Returns true if the loop should have called a step, and has not.
sub is_still { return defined $_[0]{begun_at} && clock_gettime(CLOCK_MONOTONIC) - $_[0]{begun_at} > $LATE }

# Runs until INT or TERM.
sub until_signal {
    my ($class, %given) = @_;
    my $self = $class->_new(%given);
    my $is_ended;
    local @SIG{qw(INT TERM)} = (sub { $is_ended = 1 }) x 2;
    while (!$is_ended) {
        $self->_keep_running;
        _wait($self->{running}, $AGAIN);    # not longer: a signal may have come just before
    }
    $self->_end;
    return;
}

sub stop {
    my $self = shift;
    delete @$self{qw(timer watch)};
    $self->{is_stopped} = 1;
    my $running = delete $self->{running} or return;
    $running->end if $self->{process} == $$;
    return;
}

sub DESTROY {
    my $self = shift;
    local ($@, $!, $?);
    EventSource::XS::ErrorLog->warn(
        "EventSource::Outbox: the follower is freed before it has begun: keep what follow returns; in a file for plackup write"
            . " our \$follower = ...\n")
        if defined $self->{begun_at}
        && !$self->{is_stopped}
        && $self->{process} == $$
        && ${^GLOBAL_PHASE} ne 'DESTRUCT';
    $self->stop;
    return;
}

# Private methods and functions

sub _new {
    my ($class, %given) = @_;
    my $lease = ceil($given{lease});
    return bless {
        patience => $lease > $PATIENCE ? $lease : $PATIENCE,
        process  => $$,
        serial   => sprintf('%08x', rand 2**32),               # the next process has the lease of the one before
        %given
    }, $class;
}

# A signal ends the wait, too.
sub _wait {
    my ($running, $seconds) = @_;
    return $running ? IO::Select->new($running->leash)->can_read($seconds) : Time::HiRes::sleep($seconds);
}

# The process has lines to report, and a lease to give up.
sub _end {
    my $self    = shift;
    my $running = delete $self->{running} or return;
    my $until   = clock_gettime(CLOCK_MONOTONIC) + $GRACE;
    $running->end;
    until ($running->has_ended) {
        my $seconds = $until - clock_gettime(CLOCK_MONOTONIC);
        return $running->kill if $seconds <= 0;
        _wait($running, $seconds);
        $self->_report_lines($running);
    }
    return;
}

sub _continue {
    my ($self, $pause) = @_;
    $self->{timer} = $self->{loop}->after($pause, $self->{step});
    return;
}

# A loop closes the handle that it watches, so it has a duplicate.
sub _watch {
    my $self = shift;
    open my $handle, '<&', $self->{running}->leash or return $self->_continue($AGAIN);
    $self->{watch} = [$handle, $self->{loop}->readable($handle, $self->{step})];
    return;
}

# Another process with a copy of this object has a process of its own.
sub _step {
    my $self = shift;
    delete @$self{qw(begun_at timer)};
    if ($self->{process} != $$) {
        delete @$self{qw(running watch)};
        $self->{process} = $$;
    }
    $self->_keep_running;
    if    (!$self->{running}) { delete $self->{watch}; $self->_continue($AGAIN) }
    elsif (!$self->{watch})   { $self->_watch }
    return;
}

# Starts a process, or reports what it says. Nothing says how an orphan has ended: by its alarm or otherwise.
sub _keep_running {
    my $self    = shift;
    my $running = $self->{running};
    return $self->_start if !$running;
    $self->_report_lines($running);
    return if !$running->has_ended;
    $self->{ended} = delete $self->{running};
    $self->_note(
        "the database has not answered for $self->{patience} seconds, or the follower was killed; trying again");
    return;
}

sub _start {
    my $self = shift;
    $self->{ended}->reap if $self->{ended};
    my ($was_away, $make) = (defined $self->{note}, $self->{follower});
    local ($@, $SIG{__DIE__});
    eval {
        $self->{running} = EventSource::XS::Outbox::FollowerProcess->start(
            follower => sub { $make->(was_away => $was_away, serial => $self->{serial}, @_) },
            patience => $self->{patience}
        );
        1;
    } or $self->_note("no process can follow: $@");
    return;
}

# A line, unless the last one was the same.
sub _note {
    my ($self, $text) = @_;
    $text =~ s/\n\z//;
    return if defined $self->{note} && $self->{note} eq $text;
    $self->{note} = $text;
    return $self->_report("$self->{table}: $text");
}

sub _report_lines {
    my ($self, $running) = @_;
    for my $line ($running->lines) {
        delete $self->{note};
        $self->_report($line);
    }
    return;
}

# An application that dies of a line must not end the follower.
sub _report {
    my ($self, $line) = @_;
    EventSource::XS::ErrorLog->call_back({}, 'EventSource::Outbox: report has died', $self->{report}, $line);
    return;
}

1;
