package EventSource::XS::Outbox::Follower;
use strict;
use warnings;

# Publishes the committed rows of an outbox. A step does one thing: it connects, renews the lease, reads a batch, publishes a
# wave, or notes what is published. So whoever calls it decides what happens between two of them.
#
# A row is read because it waits, never because its number is above the last one. Numbers are given when a row is written, and
# a transaction may commit long after another one with higher numbers: a follower that remembered the last number would never
# read the rows of the late one.
#
# Which order follows from that? If one transaction comes after another because it waited for it (for a lock on a row, say) and
# publishes after that, then its rows have higher numbers, and every reader who sees them sees the rows of the other, or finds
# them published. So a key's events come in the order of commits if its writers change the same row first. An order by
# transaction ids (pg_snapshot_xmin) would not be better: a transaction's id is given at its first change, which may come before
# the lock. It would also hold back all rows until the oldest transaction of the database has ended.
#
# Each row has a random key, with which the hub takes it once. So nothing depends on the lease but work that is done twice: two
# followers that read the same rows publish each once, and each of them in the order of the rows. A follower that was stopped
# drops its batch if its lease has run out meanwhile. A follower that does not reach its hub lets its lease run out: the hub of
# another one may be reachable.
#
# Rows are published in their order. The hub is sent a wave of them before it has answered, and it may refuse one for now and
# take the next one. So no two rows of a wave are of one group (EventSource::XS::Outbox::Row): none overtakes another of its
# key. The group of a row that is refused for now is delayed: it is not read for a while, so it holds up no others. The refusals
# of a row are counted if the hub takes others in between. After many, in minutes, the row is set aside.

use EventSource::XS::Outbox::Row;
use EventSource::XS::Reason;
use EventSource::XS::SocketPair;
use List::Util    qw(max min);
use Scalar::Util  qw(blessed);
use Sys::Hostname ();
use Time::HiRes   qw(CLOCK_MONOTONIC clock_gettime);

my $ROW = 'EventSource::XS::Outbox::Row';

my $HINTS = "\0EventSourceOutbox";    # the channel of hints: somebody has committed

my $BATCH     = 256;                  # rows
my $MAX_PAUSE = 5;                    # seconds between two attempts to reach the database or the hub
my $STANDBY   = 1;                    # seconds between two attempts to take the lease
my $EXPIRY    = 10;                   # seconds between two looks at rows that are kept
my $QUIET     = 10;                   # seconds between two lines about rows

my $MOST_DELAYED = 100;               # groups; each makes the question for rows longer
my $MOST_DELAY   = 60;                # seconds between two attempts to publish a row, if others are taken
my $REFUSALS     = 10;                # of a row that is set aside, and the seconds that they have to take
my $REFUSED_FOR  = 300;

# Arguments: connect_database and connect_hub, code that returns a handle of DBI and an EventSource::Hub::Process;
# database_for, code that returns an EventSource::XS::Outbox::Database for a handle; keep, lease and poll, numbers of
# seconds; report, code that must not die; process and serial, which name the holder; patience, the seconds of a step;
# wait_for, code that learns what a step is going to wait for, the database or the hub; was_away, whether the database has
# not answered before; clock, code for tests.
sub new {
    my ($class, %given) = @_;
    return bless {
        batch       => [],
        done        => [],                                       # rows that are published
        refused     => [],                                       # rows that are to be set aside, each with the reason
        clock       => sub { clock_gettime(CLOCK_MONOTONIC) },
        delayed     => {},                                       # by their groups: rows that are refused for now
        taken       => 0,                                        # rows, by the hub
        held_until  => 0,
        holder      => _holder(@given{qw(process serial)}),
        patience    => 10,
        is_drained  => 0,
        next_expiry => 0,
        wait_for    => sub { },
        $given{was_away} ? (pause_of_database => 0.05) : (),
        %given,
    }, $class;
}

# Public methods

sub channel_of_hints { return $HINTS }

# The descriptors that are readable when a step should not wait longer.
sub descriptors {
    my $self = shift;
    return if !$self->{is_drained} || !$self->{is_holder} || !$self->{database};
    return grep { defined } $self->{database}->descriptor, $self->{hint} && fileno $self->{hint};
}

# Does one thing. Returns after how many seconds the next step is due, 0 if at once.
sub step {
    my $self = shift;
    my ($pause, $what) = (undef, 'database');
    $self->{wait_for}->($what);
    local ($@, $SIG{__DIE__});
    return $pause if eval { $pause = $self->_step(\$what); 1 };
    return $self->_failed($what, $@);
}

# Gives the lease to the next one.
sub stop {
    my $self = shift;
    local ($@, $SIG{__DIE__});
    my $database = delete $self->{database};
    eval { $self->_finish($database); $database->release($self->{holder}); 1 } if $database && $self->{is_holder};
    $database->detach                                                          if $database;
    delete @$self{qw(hint hub is_holder)};
    return;
}

# Private methods and functions

# The machine and the process, and what no other follower has.
sub _holder {
    my ($process, $serial) = @_;
    return join ' ', Sys::Hostname::hostname(), defined $process ? $process : $$,
        defined $serial ? $serial : sprintf '%08x', rand 2**32;
}

sub _step {
    my ($self, $what) = @_;
    return $self->_attach if !$self->{database};
    my $now = $self->{clock}->();
    return $self->_finish($self->{database}) if $self->_has_outcomes && !$self->_is_amid_batch($now);
    if ($self->{hub}) {
        return $self->_hold($now) if $now >= $self->{next_renewal} || !$self->{is_holder};
        return $self->_read($now) if !@{$self->{batch}};
    }
    $self->{wait_for}->($$what = 'hub');
    return $self->{hub} ? $self->_publish_wave : $self->_connect_hub;
}

sub _attach {
    my $self = shift;
    my $dbh  = $self->{connect_database}->();
    $self->{wait_for}->('database');    # connect may have used the alarm
    my $database = $self->{database_for}->($dbh);
    my $caution =
        $database->attach($dbh, $self->{patience} * 0.4);    # two in a step: one that fails, and the end of the lease
    $self->_note(caution => $caution) if defined $caution;
    $self->{database}     = $database;
    $self->{next_renewal} = 0;
    $self->{is_drained}   = 0;
    return 0;
}

# The time of the lease is counted from before the question, so it ends here before it ends in the database.
sub _hold {
    my ($self, $now)         = @_;
    my ($lease, $was_holder) = @$self{qw(lease is_holder)};
    $self->{batch}        = [] if $now >= $self->{held_until};
    $self->{is_holder}    = $self->{database}->hold($self->{holder}, $lease);
    $self->{held_until}   = $self->{is_holder} ? $now + $lease     : 0;
    $self->{next_renewal} = $self->{is_holder} ? $now + $lease / 3 : 0;
    if (!$self->{is_holder}) {
        $self->{batch} = [];
        $self->_reached('database');
        $self->_note('lease', 'another process follows this outbox; this one takes over when that ends');
        return $STANDBY;
    }
    if (!$was_holder) {
        $self->{is_drained} = 0;
        $self->_note('lease', 'this process follows the outbox');
    }
    return 0;
}

sub _finish {
    my ($self, $database) = @_;
    $self->_finish_done($database);
    while (my $refused = $self->{refused}[0]) {
        $database->set_aside($refused->{row}, $refused->{reason}) > 0
            or !$database->waiting_of($refused->{row})
            or die "row $refused->{row}{id} can be marked neither as published nor as set aside:"
            . " look at the triggers and policies of the table\n";
        shift @{$self->{refused}};
        $self->_report_row(
            $refused->{row},
            "is set aside: $refused->{reason}",
            $refused->{remedy} || 'mend it, and "eventsource outbox --retry" publishes it'
        );
    }
    return 0;
}

# A row that is published, and that the database does not mark, such as one that a trigger holds, would be read again and again,
# or hold up others. So it is set aside. If the database refuses more than the row, all are tried again.
sub _finish_done {
    my ($self, $database) = @_;
    my @done = @{$self->{done}} or return;
    local ($@, $SIG{__DIE__});
    my $count = eval { $database->finish(@done) };
    my %error;
    if (!defined $count) {
        my $error   = $@;
        my %refused = $database->refusals;
        die $error if defined $refused{follow};
        for my $row (@done) {
            $error{$row->{id}} = _text_of($@) if !eval { $database->finish($row); 1 };
        }
    }
    if (!defined $count || $count < @done) {
        my %waits = map { $_ => 1 } $database->waiting_of(@done);
        push @{$self->{refused}}, map {
            {
                row    => $_,
                reason => 'it is published, and the database does not mark it so'
                    . (defined $error{$_->{id}} ? ": $error{$_->{id}}" : ''),
                remedy => 'remove the cause, and delete the row'
            }
        } grep { $waits{$_->{id}} } @done;
    }
    $self->{done} = [];
    return;
}

sub _read {
    my ($self, $now) = @_;
    my $database = $self->{database};
    my $is_hint  = $self->_take_hints;
    return 0                    if $self->_expire($now);
    $self->{is_drained} = 0     if defined $self->{retry_at} && $now >= $self->{retry_at};
    return $self->_pause($now)  if $self->{is_drained} && !$is_hint && !$database->may_have_changed;
    $database->may_have_changed if !$self->{is_drained};
    my @delayed = $self->_delayed($now);
    $self->{retry_at}   = min(map { $_->{until} } @delayed);
    $self->{batch}      = [$database->waiting($BATCH, map { $_->{row} } @delayed)];
    $self->{is_drained} = !@{$self->{batch}};
    $self->_reached('database');
    return $self->{is_drained} ? $self->_pause($now) : 0;
}

# Deletes rows whose time is over. Returns true if there are perhaps more.
sub _expire {
    my ($self, $now) = @_;
    return !!0 if !$self->{keep} || $now < $self->{next_expiry};
    my $is_more = $self->{database}->expire($self->{keep}) >= 1000;
    $self->{next_expiry} = $now + $EXPIRY if !$is_more;
    return $is_more;
}

# The pause of a follower without work.
sub _pause {
    my ($self, $now) = @_;
    return 0 if $self->{database}->is_notified;
    my $pause = defined $self->{poll} ? $self->{poll} : $self->{database}->pause;
    my $until = min(grep { defined } @$self{qw(next_renewal retry_at)});
    return max(0.001, min($pause, $until - $now));
}

sub _connect_hub {
    my $self = shift;
    my $hub  = $self->{connect_hub}->();
    if ($self->{database}->needs_hint) {
        my ($ours, $theirs) = EventSource::XS::SocketPair->open or die "cannot make a socket: $!\n";
        $ours->blocking(0);
        $hub->follow($theirs, $HINTS);
        $self->{hint} = $ours;
    }
    $self->{hub} = $hub;
    return 0;
}

# Publishes the first rows, up to the second one of a group. A row that is refused for what it is does not hold up others.
sub _publish_wave {
    my $self = shift;
    my (@wave, %has_group);
    for my $row (@{$self->{batch}}) {
        last if $has_group{$ROW->group_of($row)}++;
        push @wave, $row;
    }
    my %outcome;
    my $trouble = $self->_publish(\@wave, \%outcome);
    my ($before, %is_delayed) = $self->{taken};
    $self->{taken} += grep { defined $_->{id} } values %outcome;
    for my $row (grep { $outcome{$_->{id}} } @wave) {
        my ($answer, $group) = ($outcome{$row->{id}}, $ROW->group_of($row));
        if    (defined $answer->{id}) { push @{$self->{done}}, $row; delete $self->{delayed}{$group} }
        elsif (_is_of_row($answer))   { push @{$self->{refused}}, {row => $row, reason => $answer->{error}} }
        elsif ($self->_delay($row, $answer->{error}, $before)) { $is_delayed{$group} = 1 }
        else { $trouble //= $answer->{error}; delete $outcome{$row->{id}} }
        delete @$self{qw(hint hub)}
            if ($answer->{code} || '') eq 'refused';    # the next connection learns what has changed
    }
    $self->{batch} =
        [grep { !$outcome{$_->{id}} && !(%is_delayed && $is_delayed{$ROW->group_of($_)}) } @{$self->{batch}}];
    die "$trouble\n"       if defined $trouble;
    $self->_reached('hub') if $self->{taken} > $before;
    return 0;
}

# Rows of the group of a row that is refused for now wait for it. Returns false if there are too many such groups: then it is
# the hub that takes nothing. So it is, too, as long as it has not taken others since so many.
sub _delay {
    my ($self, $row, $error, $taken) = @_;
    my ($now, $group) = ($self->{clock}->(), $ROW->group_of($row));
    my $delayed = $self->{delayed}{$group};
    if (!$delayed || $delayed->{row}{id} != $row->{id}) {
        return !!0 if !$delayed && keys %{$self->{delayed}} >= $MOST_DELAYED;
        my %known = map { $_ => $row->{$_} } qw(channel event_key id);
        $delayed = $self->{delayed}{$group} =
            {refusals => 0, row => \%known, since => $now, taken => $taken, tries => 0};
    }
    my $is_its = $self->{taken} > $delayed->{taken};
    $delayed->{refusals}++ if $is_its;
    if ($delayed->{refusals} >= $REFUSALS && $now - $delayed->{since} >= $REFUSED_FOR) {
        delete $self->{delayed}{$group};
        push @{$self->{refused}}, {row => $row, reason => "refused $delayed->{refusals} times, the last time: $error"};
        return !!1;    # later ones are read when that is noted
    }
    my $most = $delayed->{refusals} ? $MOST_DELAY : $MAX_PAUSE;
    $delayed->{until} = $now + min($most, 0.1 * 2**$delayed->{tries}++);
    $delayed->{taken} = $self->{taken};
    $self->{retry_at} = min(grep { defined } $delayed->{until}, $self->{retry_at});
    if    (!$is_its)                   { $self->_note_away(hub => $error) }
    elsif (!$delayed->{is_reported}++) { $self->_report_row($row, "is refused for now, and its key waits: $error") }
    return !!1;
}

# A group is no longer delayed when its row was not refused again.
sub _delayed {
    my ($self, $now) = @_;
    my $delayed = $self->{delayed};
    delete @$delayed{grep { $delayed->{$_}{until} + $MOST_DELAY < $now } keys %$delayed};
    return grep { $_->{until} > $now } values %$delayed;
}

# Publishes rows, and notes the answers by the rows' numbers. Returns why some have none, undef if all have one.
sub _publish {
    my ($self, $rows,  $outcome) = @_;
    my ($hub,  @begun, $trouble) = ($self->{hub});
    local ($@, $SIG{__DIE__});
    for my $row (@$rows) {
        my ($channel, $event) = eval { $ROW->publication_of($row, $hub->show_channel) };
        if (!defined $channel) { $outcome->{$row->{id}} = {error => _text_of($@), code => 'invalid'}; next }
        push @begun, $row;
        next if eval { $hub->begin_publish($channel, $event); 1 };
        my $error = $@;
        if (blessed $error && $error->isa('EventSource::Error') && $error->code eq 'invalid') {
            pop @begun;
            $outcome->{$row->{id}} = {error => _text_of($error), code => 'invalid'};
            next;
        }
        $trouble = _text_of($error);
        last;
    }
    while (@begun) {
        my @answers = eval { $hub->answers } or return $self->_lose_hub(defined $trouble ? $trouble : _text_of($@));
        $outcome->{(shift @begun)->{id}} = $_ for @answers;
    }
    return defined $trouble ? $self->_lose_hub($trouble) : undef;
}

sub _lose_hub {
    my ($self, $trouble) = @_;
    delete @$self{qw(hint hub)};
    return length $trouble ? $trouble : 'the connection broke';
}

# A table may hold many such rows.
sub _report_row {
    my ($self, $row, $text, $remedy) = @_;
    my $now = $self->{clock}->();
    return $self->{unreported}++ if defined $self->{next_line} && $now < $self->{next_line};
    my $others = delete $self->{unreported};
    $self->{next_line} = $now + $QUIET;
    $self->_report("row $row->{id} $text"
            . ($others         ? " (and $others more since the last line)" : '')
            . (defined $remedy ? "; $remedy"                               : ''));
    return;
}

# Returns true if something was published meanwhile, as far as others say so.
sub _take_hints {
    my $self  = shift;
    my $hint  = $self->{hint} or return !!0;
    my $count = sysread $hint, my ($bytes), 65_536;
    return !!1                  if $count;
    delete @$self{qw(hint hub)} if defined $count;    # the hub process has ended
    return !!0;
}

# Forgets what is broken, and says so once for each reason.
sub _failed {
    my ($self, $what, $error) = @_;
    $self->_give_up_database if $what eq 'database';
    $self->_note_away($what, $error);
    return 0 if $what eq 'hub' && $self->_has_outcomes;    # some were taken: note that first
    my $pause = $self->{"pause_of_$what"} * (0.5 + rand 0.5);
    return $what eq 'hub' && $self->{is_holder} ? min($pause, $self->{lease} / 3) : $pause;
}

sub _note_away {
    my ($self, $what, $error) = @_;
    $self->_note($what, "the $what takes nothing: " . _text_of($error) . '; trying again');
    $self->{"pause_of_$what"} = min($MAX_PAUSE, 2 * ($self->{"pause_of_$what"} || 0.05));
    return;
}

# While waves are taken, what they have published is noted once, with the end of the batch: a statement for each wave would take
# most of the time where all rows are of one group. A row that is refused is noted at once, before a later one of its group is
# published: another follower would publish it then.
sub _is_amid_batch {
    my ($self, $now) = @_;
    return
           @{$self->{batch}}
        && !@{$self->{refused}}
        && $self->{hub}
        && !$self->{pause_of_hub}
        && $now < $self->{next_renewal};
}

# Another follower may have the rights that this one lacks, so it may have the lease at once.
sub _give_up_database {
    my $self      = shift;
    my $database  = delete $self->{database};
    my $is_holder = delete $self->{is_holder};
    $self->{batch} = [];
    return if !$database;
    local ($@, $SIG{__DIE__});
    eval { $database->release($self->{holder}) } if $is_holder;
    $database->detach;
    return;
}

sub _has_outcomes { return @{$_[0]{done}} || @{$_[0]{refused}} }

sub _reached {
    my ($self, $what) = @_;
    my $was_away = delete $self->{"pause_of_$what"};
    $self->_note($what, "the $what is reached again") if $was_away;
    return;
}

# A line for each change of what is said.
sub _note {
    my ($self, $subject, $text) = @_;
    return if defined $self->{notes}{$subject} && $self->{notes}{$subject} eq $text;
    $self->{notes}{$subject} = $text;
    $self->_report($text);
    return;
}

sub _report {
    my ($self, $text) = @_;
    $self->{report}->("$self->{table}: $text" =~ s/\s*\n\s*/ /gr);
    return;
}

# Returns true if the hub refuses a row for what it is: it would do so again. What is retained is full because of its keys.
sub _is_of_row {
    my $answer = shift;
    my ($code, $field) = ($answer->{code}, $answer->{field} || '');
    return $code eq 'invalid' || $code eq 'full' && $field eq 'retain';
}

sub _text_of {
    my $error = shift;
    return EventSource::XS::Reason->message_of($error) =~ s/\s*\n\s*/ /gr =~ s/\s+\z//r;
}

1;
