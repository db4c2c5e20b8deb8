package EventSource::XS::Outbox::Follower;
use strict;
use warnings;

# Publishes the committed rows of an outbox. A step does one thing, so whoever calls it decides what happens between two steps.
# What it does follows from the state of the follower (_state): the first one of this table that fits.
#
#   state           when                                       next state
#   detached        no connection with the database            acknowledging, cut_off or candidate
#   acknowledging   answers of the hub are to be noted         cut_off, candidate, publishing or looking
#   cut_off         no connection with the hub                 candidate, publishing or looking
#   candidate       no lease, or it is due to be renewed       publishing or looking; candidate if another follower has it
#   publishing      rows wait                                  publishing, after the last row acknowledging
#   looking         none wait                                  publishing; looking if there are none
#
# If the database fails: detached, without the lease and rows that wait. If the hub fails: acknowledging what it has taken and
# then at once, otherwise after a pause, as the table says. Each row is in the list that has the name of its state:
#
#   waiting   read, and not answered by the hub   sent: taken, dead or delayed; waiting if the hub is lost or takes nothing
#   taken     published                           acknowledged: gone from the table, or kept, or a dead letter; or unmarked
#   dead      refused for good                    acknowledged: a dead letter; or unmarked
#   unmarked  the database lets nobody mark it    not read for a while; acknowledged after that; or unmarked
#   delayed   refused for now                     not read for a while, nor others of its group; then waiting; after many, dead
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
# Each row has a random key, with which the hub takes it once, within the bounds of once (src/hub/sequence/once_keys.rs). So
# nothing depends on the lease but work that is done twice: two followers that read the same rows publish each once, and each of
# them in the order of the rows. A follower that was stopped drops its rows if its lease has run out meanwhile. One that is cut
# off lets its lease run out: the hub of another one may be reachable.
#
# Rows are published in their order. The hub is sent a wave of them before it has answered, and it may refuse one for now and
# take the next one. So no two rows of a wave are of one group (EventSource::XS::Outbox::Row): none overtakes another of its
# key. The refusals of a row that is delayed are counted if the hub takes others in between.

use EventSource::XS::Outbox::Row;
use EventSource::XS::Reason;
use List::Util    qw(max min);
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
my $REFUSALS     = 10;                # until a row is dead, and the seconds that they have to take
my $REFUSED_FOR  = 300;

my $MOST_UNMARKED = 1000;             # rows; each makes that question longer

# Why a row is not marked: the clause, the seconds between two attempts, the remedy.
my %OBSTACLE = (
    locked => ['another session has locked it', $MAX_PAUSE, 'it is marked when that transaction ends'],
    held   => [
        'can be marked neither so nor as a dead letter',
        $MOST_DELAY,
        'look at the triggers, constraints and policies of the table'
    ],
);

my $NEVER = 9**9**9;

# By the state: what the step waits for, and the step.
my %STEP = (
    detached      => [database => '_attach'],
    acknowledging => [database => '_acknowledge'],
    cut_off       => [hub      => '_connect_hub'],
    candidate     => [database => '_acquire_lease'],
    publishing    => [hub      => '_publish_wave'],
    looking       => [database => '_look'],
);

# Arguments: connect_database and connect_hub, code that returns a handle of DBI and an EventSource::Hub::Process;
# database_for, code that returns an EventSource::XS::Outbox::Database for a handle; keep, lease and poll, numbers of
# seconds; report, code that must not die; process and serial, which name the holder; patience, the seconds of a step;
# wait_for, code that learns what a step is going to wait for, the database or the hub; was_away, whether the database has
# not answered before; clock, code for tests.
sub new {
    my ($class, %given) = @_;
    my @holder = (Sys::Hostname::hostname(), $given{process} // $$, $given{serial} // sprintf '%08x', rand 2**32);
    return bless {
        waiting     => [],
        taken       => [],
        dead        => [],                                              # each with its problem
        delayed     => {},                                              # by their groups
        unmarked    => {},                                              # by their names
        accepted    => 0,                                               # by the hub: a count of rows
        away        => {$given{was_away} ? (database => 0.05) : ()},    # what is away, and the pause between attempts
        clock       => sub { clock_gettime(CLOCK_MONOTONIC) },
        held_until  => 0,                                               # the lease; 0: there is none
        holder      => "@holder",
        look_at     => 0,                                               # for rows, at the latest; 0: there may be more
        next_expiry => 0,
        next_line   => 0,
        patience    => 10,
        wait_for    => sub { },
        %given,
    }, $class;
}

# Public methods

sub channel_of_hints { return $HINTS }

# The descriptors that are readable when a step should not wait longer.
sub descriptors {
    my $self = shift;
    return if !$self->{look_at} || !$self->{held_until} || !$self->{database};
    return grep { defined } $self->{database}->descriptor, $self->{hint} && fileno $self->{hint};
}

# Does one thing. Returns after how many seconds the next step is due, 0 if at once.
sub step {
    my $self = shift;
    my ($awaited, $step) = @{$STEP{$self->_state}};
    $self->_report_rows if $self->{unreported} && $self->{clock}->() >= $self->{next_line};
    $self->{wait_for}->($awaited);
    local ($@, $SIG{__DIE__});
    my $pause;
    return $pause if eval { $pause = $self->$step; 1 };
    return $self->_failed($awaited, $@);
}

# Gives the lease to the next one.
sub stop {
    my $self = shift;
    local ($@, $SIG{__DIE__});
    eval { $self->_acknowledge } if $self->{database} && $self->{held_until};
    $self->_report_rows          if $self->{unreported};
    $self->_detach;
    $self->_drop_hub;
    return;
}

# Private methods and functions

sub _state {
    my $self = shift;
    return 'detached'      if !$self->{database};
    return 'acknowledging' if @{$self->{dead}} || @{$self->{taken}} && !$self->_is_amid_rows;
    return 'cut_off'       if !$self->{hub};
    return 'candidate'     if $self->_lease ne 'held';
    return @{$self->{waiting}} ? 'publishing' : 'looking';
}

# While waves are taken, what they have published is noted once, after the last row that waits: a statement for each wave would
# take most of the time where all rows are of one group. A row that is dead is noted at once, before a later one of its group is
# published: another follower would publish it then.
sub _is_amid_rows {
    my $self = shift;
    return @{$self->{waiting}} && $self->{hub} && !$self->{away}{hub} && $self->_lease eq 'held';
}

# none: others may have published.
sub _lease {
    my $self = shift;
    my $now  = $self->{clock}->();
    return $now >= $self->{held_until} ? 'none' : $now >= $self->_renewal ? 'due' : 'held';
}

# The time at which the lease is due to be renewed.
sub _renewal { return $_[0]{held_until} - 2 * $_[0]{lease} / 3 }

sub _attach {
    my $self = shift;
    my $dbh  = $self->{connect_database}->();
    $self->{wait_for}->('database');    # connect may have used the alarm
    my $database = $self->{database_for}->($dbh);
    my $caution =
        $database->attach($dbh, $self->{patience} * 0.4);    # two in a step: one that fails, and the end of the lease
    $self->_note(caution => $caution) if defined $caution;
    $self->{database} = $database;
    return 0;
}

# Another follower may have the rights that this one lacks, so it may have the lease at once.
sub _detach {
    my $self     = shift;
    my $database = delete $self->{database} or return;
    local ($@, $SIG{__DIE__});
    eval { $database->release_lease($self->{holder}) } if $self->{held_until};
    $database->detach;
    @$self{qw(held_until waiting)} = (0, []);
    return;
}

# The time of the lease is counted from before the question, so it ends here before it ends in the database.
sub _acquire_lease {
    my $self = shift;
    my ($now, $was_none) = ($self->{clock}->(), $self->_lease eq 'none');
    my $is_held = $self->{database}->acquire_lease(@$self{qw(holder lease)});
    $self->{held_until}         = $is_held ? $now + $self->{lease} : 0;
    @$self{qw(look_at waiting)} = (0, []) if $was_none || !$is_held;
    $self->_reached('database') if !$is_held;
    $self->_note(
        lease => $is_held
        ? 'this process follows the outbox'
            . ($self->_lease eq 'none' ? ', but the database answers slower than the lease lasts: raise lease' : '')
        : 'another process follows this outbox; this one takes over when that ends'
    );
    return $STANDBY             if !$is_held;
    $self->_report_dead_letters if $was_none;
    return 0;
}

# Marks what the hub has taken or refused.
sub _acknowledge {
    my $self  = shift;
    my $taken = $self->{taken};
    $self->_mark_each($self->_unacknowledged(@$taken)) if @$taken;
    $self->{taken} = [];
    my $dead = $self->{dead};
    $self->_mark_each(@$dead) if @$dead;
    $self->{dead} = [];
    return 0;
}

# Acknowledges published rows in one statement. Returns the rows that wait after that. If the database refuses more than a row,
# all are tried again.
sub _unacknowledged {
    my ($self, @taken) = @_;
    my $database = $self->{database};
    local ($@, $SIG{__DIE__});
    my $count = eval { $database->acknowledge(@taken) };
    return                        if defined $count && $count == @taken;
    $self->_die_unless_of_row($@) if !defined $count;
    my %waits = map { $_ => 1 } $database->waiting_of(@taken);
    return grep { $waits{$_->{id}} } @taken;
}

# Marks rows one by one. A row that the database does not mark must not hold up the others, so it is set aside.
sub _mark_each {
    my ($self, @rows) = @_;
    my %is_locked = map { $_ => 1 } @rows ? $self->{database}->locked_of(@rows) : ();
    for my $row (@rows) {
        $self->{wait_for}->('database');    # each of them may take its time
        my @obstacle = $is_locked{$row->{id}} ? (locked => '') : $self->_mark($row);
        if (@obstacle) { $self->_set_aside($row, @obstacle) }
        else           { delete $self->{unmarked}{_name_of($row)} }
    }
    return;
}

# Marks a row as published, or as a dead letter if the hub has refused it. A row that is published and cannot be marked so, such
# as one that a trigger holds, becomes a dead letter, too. Returns the obstacle if the row waits after that.
sub _mark {
    my ($self, $row) = @_;
    my $database = $self->{database};
    my ($problem, $remedy) = ($row->{problem}, 'mend it, and "eventsource outbox --retry" publishes it');
    local ($@, $SIG{__DIE__});
    if (!defined $problem) {
        return if (eval { $database->acknowledge($row) } || 0) > 0;
        my $reason = length $@ ? ': ' . _text_of($@) : '';
        return if !$database->waiting_of($row);
        return locked => '' if $database->locked_of($row);
        ($problem, $remedy) =
            ("it is published, and the database does not mark it so$reason", 'remove the cause, and delete the row');
    }
    my $count = eval { $database->mark_dead($row, $problem) };
    if (!defined $count || $count == 0) {
        my $error = $@;
        $self->_die_unless_of_row($error) if !defined $count;
        if ($database->waiting_of($row)) {
            return locked => '' if $database->locked_of($row);
            return held   => length $error ? ': ' . _text_of($error) : '';
        }
    }
    $self->_report_row($row, "is a dead letter: $problem", $remedy);
    return;
}

# Dies with an error of the database, unless that refuses a row only.
sub _die_unless_of_row {
    my ($self, $error) = @_;
    my %refused = $self->{database}->refusals('follow');
    die $error if defined $refused{follow};
    return;
}

# A row that the database lets nobody mark is marked later: another session has locked it (locked), or a trigger, a constraint
# or a policy holds it (held). It is not read meanwhile, because it would be published again. If the hub has refused it, its
# group waits, because another follower may publish it after the later ones. A row that is too long is read again after a while,
# because somebody may have shortened it, and is alone in its group.
sub _set_aside {
    my ($self, $row, $obstacle, $reason) = @_;
    my ($unmarked, $name, $now) = ($self->{unmarked}, _name_of($row), $self->{clock}->());
    my $is_published = !defined $row->{problem};
    my $state =
        $is_published ? 'published' : $row->{too_long} ? "refused ($row->{problem})" : 'refused, and its key waits';
    my ($clause, $most, $remedy) = @{$OBSTACLE{$obstacle}};
    ($most, $remedy) = ($MAX_PAUSE, "DELETE FROM $self->{table} WHERE id = $row->{id} removes it")
        if $row->{too_long} && $obstacle eq 'held';
    die
        "row $row->{id} is $state, and $clause$reason; no row is published, because $MOST_UNMARKED others are set aside,"
        . " the most that a follower sets aside: $remedy\n"
        if !$unmarked->{$name} && keys %$unmarked >= $MOST_UNMARKED;
    my %known = map { $_ => $row->{$_} } qw(channel event_key id problem token too_long);
    my $aside = $unmarked->{$name} ||= {row => \%known, tries => 0};
    $aside->{until} = $now + min($most, 0.1 * 2**$aside->{tries}++);
    $self->_report_row($row, "is $state, and $clause$reason", $remedy) if !$aside->{is_reported}++;
    return                                                             if $is_published;
    my $group = $ROW->group_of($row);
    $self->{waiting} = [grep { $ROW->group_of($_) ne $group } @{$self->{waiting}}];
    return;
}

sub _name_of {
    return join ' ', grep { defined } @{$_[0]}{qw(id token)};
}

sub _give_up {
    my ($self, $row, $problem) = @_;
    $row->{problem} = $problem;
    return push @{$self->{dead}}, $row;
}

# What has changed is asked before rows are read: a commit between the two is found by the next look.
sub _look {
    my $self      = shift;
    my $database  = $self->{database};
    my $now       = $self->{clock}->();
    my $is_hinted = $self->_take_hints;
    return 0 if $self->_expire($now);
    my $has_changed = $database->may_have_changed;
    return $self->_pause($now) if $now < $self->{look_at} && !$is_hinted && !$has_changed;
    my $unmarked = $self->{unmarked};
    my ($again, @due) = $self->_due($now);
    $self->_mark_each(@due);
    my @delayed = $self->_delayed($now);
    my @aside   = map { $unmarked->{$_} } grep { !$again->{$_} } keys %$unmarked;
    my @held    = map { $_->{row} } @delayed, grep { defined $_->{row}{problem} && !$_->{row}{too_long} } @aside;
    my @rows    = $database->waiting($BATCH, \@held, [map { $_->{row} } @aside]);
    delete @$again{map { _name_of($_) } @rows};
    delete @$unmarked{keys %$again};
    $self->{waiting} = \@rows;
    $self->{look_at} = @rows ? 0 : min($NEVER, map { $_->{until} } @delayed, @aside);
    $self->_reached('database');
    return @rows ? 0 : $self->_pause($now);
}

# The unmarked rows whose time has come: the names of those that are read again, because somebody may have made them shorter,
# and the others.
sub _due {
    my ($self, $now) = @_;
    my @due = map { $_->{row} } grep { $_->{until} <= $now } values %{$self->{unmarked}};
    return ({map { _name_of($_) => 1 } grep { $_->{too_long} } @due}, grep { !$_->{too_long} } @due);
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
    my $pause = defined $self->{poll} ? $self->{poll}      : $self->{database}->pause;
    my $line  = $self->{unreported}   ? $self->{next_line} : $NEVER;
    return max(0.001, min($pause, min($self->_renewal, $self->{look_at}, $line) - $now));
}

sub _connect_hub {
    my $self = shift;
    my $hub  = $self->{connect_hub}->();
    if ($self->{database}->needs_hint) {
        $self->{hint} = $hub->follow($HINTS)->socket;
        $self->{hint}->blocking(0);
    }
    $self->{hub} = $hub;
    return 0;
}

# Publishes the first rows, up to the second one of a group.
sub _publish_wave {
    my $self = shift;
    my (@wave, %has_group, %answer, %is_delayed);
    for my $row (@{$self->{waiting}}) {
        last if $has_group{$ROW->group_of($row)}++;
        push @wave, $row;
    }
    my $trouble = $self->_send(\@wave, \%answer);
    my $before  = $self->{accepted};
    my @refused = grep { ($answer{$_}{code} || '') eq 'refused' } keys %answer;
    $self->_drop_hub         if @refused;    # the next connection learns what has changed: show_channel
    delete @answer{@refused} if @refused && !$self->{is_renewed};
    $self->{is_renewed} = @refused > 0;
    $self->{accepted} += grep { defined $_->{id} } values %answer;

    for my $row (grep { $answer{$_->{id}} } @wave) {
        my ($answer, $group) = ($answer{$row->{id}}, $ROW->group_of($row));
        if    (defined $answer->{id}) { push @{$self->{taken}}, $row; delete $self->{delayed}{$group} }
        elsif (_is_of_row($answer))   { $self->_give_up($row, $answer->{error}) }
        elsif ($self->_delay($row, $answer->{error}, $before)) { $is_delayed{$group} = 1 }
        else { $trouble //= $answer->{error}; delete $answer{$row->{id}} }
    }
    my $waiting = $self->{waiting};
    splice @$waiting, 0, @wave, grep { !$answer{$_->{id}} } @wave;
    @$waiting = grep { !$is_delayed{$ROW->group_of($_)} } @$waiting if %is_delayed;
    die "$trouble\n"                                                if defined $trouble;
    $self->_reached('hub')                                          if $self->{accepted} > $before;
    return 0;
}

# Rows of the group of a row that is refused for now wait for it. Returns false if there are too many such groups: then it is
# the hub that takes nothing. So it is, too, as long as it has not taken others since so many.
sub _delay {
    my ($self, $row, $error, $accepted) = @_;
    my ($now, $group) = ($self->{clock}->(), $ROW->group_of($row));
    my $delayed = $self->{delayed}{$group};
    if (!$delayed || $delayed->{row}{id} != $row->{id}) {
        return !!0 if !$delayed && keys %{$self->{delayed}} >= $MOST_DELAYED;
        my %known = map { $_ => $row->{$_} } qw(channel event_key id token);
        $delayed = $self->{delayed}{$group} =
            {accepted => $accepted, refusals => 0, row => \%known, since => $now, tries => 0};
    }
    my $is_its = $self->{accepted} > $delayed->{accepted};
    $delayed->{refusals}++ if $is_its;
    if ($delayed->{refusals} >= $REFUSALS && $now - $delayed->{since} >= $REFUSED_FOR) {
        delete $self->{delayed}{$group};
        return $self->_give_up($row, "refused $delayed->{refusals} times, the last time: $error");
    }
    my $most = $delayed->{refusals} ? $MOST_DELAY : $MAX_PAUSE;
    $delayed->{until}    = $now + min($most, 0.1 * 2**$delayed->{tries}++);
    $delayed->{accepted} = $self->{accepted};
    if    (!$is_its)                   { $self->_note_away(hub => $error) }
    elsif (!$delayed->{is_reported}++) { $self->_report_row($row, "is refused for now, and its key waits: $error") }
    return !!1;
}

# A row that waits no more, because somebody has published or deleted it, holds up its group no longer.
sub _delayed {
    my ($self, $now) = @_;
    my $delayed = $self->{delayed};
    return if !%$delayed;
    my %waits = map { $_ => 1 } $self->{database}->waiting_of(map { $_->{row} } values %$delayed);
    delete @$delayed{grep { !$waits{$delayed->{$_}{row}{id}} } keys %$delayed};
    return grep { $_->{until} > $now } values %$delayed;
}

# Publishes rows, and notes the answers by the rows' numbers. Returns why some have none, undef if all have one.
sub _send {
    my ($self, $rows,  $answer)  = @_;
    my ($hub,  @begun, $trouble) = ($self->{hub});
    local ($@, $SIG{__DIE__});
    for my $row (@$rows) {
        my @publication = eval                 { $ROW->publication_of($row) };
        my $is_begun    = @publication && eval { $hub->begin_publish(@publication); 1 };
        my $error       = $@;
        if (!$is_begun && (!@publication || (eval { $error->code } // '') eq 'invalid')) {
            $answer->{$row->{id}} = {error => _text_of($error), code => 'invalid'};
            next;
        }
        push @begun, $row;
        next if $is_begun;
        $trouble = _text_of($error);
        last;
    }
    while (@begun) {
        my @answers = eval { $hub->answers } or $trouble ||= _text_of($@) || 'the connection broke';
        last if !@answers;
        $answer->{(shift @begun)->{id}} = $_ for @answers;
    }
    $self->_drop_hub if defined $trouble;
    return $trouble;
}

sub _drop_hub { return delete @{$_[0]}{qw(hint hub)} }

# Says what has become of a row. A table may hold many such rows, so a line comes at once or some seconds after the last one,
# names one row, and counts the others.
sub _report_row {
    my ($self, $row, $text, $remedy) = @_;
    $self->{unreported}{$row->{id}} = 1;
    $self->{named} = [$row->{id}, $text, defined $remedy ? "; $remedy" : ''];
    $self->_report_rows if $self->{clock}->() >= $self->{next_line};
    return;
}

sub _report_rows {
    my $self = shift;
    my ($id, $text, $remedy) = @{$self->{named}};
    my $others = keys(%{delete $self->{unreported}}) - 1;
    my $more   = $others ? " (and $others more since the last line)" : '';
    $self->{next_line} = $self->{clock}->() + $QUIET;
    $self->_report("row $id $text$more$remedy");
    return;
}

# A follower that ends in the middle of a step has named no row of the last seconds.
sub _report_dead_letters {
    my $self  = shift;
    my $count = $self->{database}->count_dead or return;
    $self->_note(dead => qq{the number of dead letters is $count; "eventsource outbox --list" shows them});
    return;
}

# Returns true if something was published meanwhile, as far as others say so.
sub _take_hints {
    my $self  = shift;
    my $hint  = $self->{hint} or return !!0;
    my $count = sysread $hint, my ($bytes), 65_536;
    return !!1       if $count;
    $self->_drop_hub if defined $count;    # the hub process has ended
    return !!0;
}

# Forgets what is broken, and says so once for each reason. Whoever has the lease must not miss its renewal.
sub _failed {
    my ($self, $what, $error) = @_;
    $self->_detach if $what eq 'database';
    $self->_note_away($what, $error);
    return 0 if $self->_state eq 'acknowledging';
    my $pause = $self->{away}{$what} * (0.5 + rand 0.5);
    return $self->{held_until} ? min($pause, $self->{lease} / 3) : $pause;
}

sub _note_away {
    my ($self, $what, $error) = @_;
    $self->_note($what, "the $what takes nothing: " . _text_of($error) . '; trying again');
    $self->{away}{$what} = min($MAX_PAUSE, 2 * ($self->{away}{$what} || 0.05));
    return;
}

sub _reached {
    my ($self, $what) = @_;
    $self->_note($what, "the $what is reached again") if delete $self->{away}{$what};
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

sub _text_of { return EventSource::XS::Reason->message_of($_[0]) =~ s/\s*\n\s*/ /gr }

1;
