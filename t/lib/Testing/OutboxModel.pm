package Testing::OutboxModel;
use Testing;

# Followers of an outbox (EventSource::XS::Outbox::Follower) in a world of which a scheduler decides: producers, a database
# (Testing::OutboxModel::Database) and a hub (Testing::OutboxModel::Hub) in memory, and one clock. At random they act in any
# order, fail, or stop, also in the middle of a step of a follower. Returns what was wrong.
#
#   srand $seed;
#   my @problems = Testing::OutboxModel->new(class => $class)->run;
#   my @problems = Testing::OutboxModel->new(class => $class, stop_at => 7, stop_for => 30)->run;
#
# The rules that are checked: a row is published if its transaction is committed, and never before; once, as long as the hub
# remembers; after all rows of its key that were committed before it, if the writers of the key exclude each other; it becomes a
# dead letter only if the hub refuses it for good, or again and again while it takes others; when nothing fails any more, no row
# waits for longer than the lease and some seconds, but for one that the hub goes on refusing, and those of its group behind it.

use List::Util qw(first min);
use Testing::OutboxModel::Database;
use Testing::OutboxModel::Hub;

my $LEASE     = 10;     # seconds
my $PRODUCERS = 3;
my $MOST_ACTS = 120;
my $GIVEN_UP  = 600;    # seconds until a row that is refused again and again is a dead letter
my $REFUSED   = 5;      # times that it must have been refused

# Channels and keys. The writers of the last key do not wait for each other.
my @PLACES = (['a', 1], ['a', 2], ['a', undef], ['b', undef], ['b', ''], ['a', 'free']);

# The probability of each fault, where the scheduler has chosen it for a run.
my %FAULT = (
    answer_lost     => 0.1,
    break           => 0.1,
    clock           => 0.02,
    database_after  => 0.05,
    database_away   => 0.02,
    database_before => 0.05,
    database_late   => 0.05,
    delete          => 0.02,
    end             => 0.03,
    fail_over       => 0.03,
    full            => 0.1,
    hub_away        => 0.03,
    hub_kill        => 0.02,
    kill            => 0.03,
    late            => 0.3,
    lock            => 0.05,
    meanwhile       => 0.1,
    refuse          => 0.15,
    slow            => 0.1,
    stop            => 0.05,
    stop_inside     => 0.03,
    unknown         => 0.1,
);

# Faults that leave a row published once, even if the hub remembers little: the only follower with work is stopped between two
# steps, or the only follower loses its database.
my %CALM = (stop => {stop => 0.2}, database => {map { $_ => 0.15 } 'lock', grep { /\Adatabase/ } keys %FAULT});

# Options: class, that of the followers; fault, how probable each is; calm, the name of the faults that are allowed; stop_at
# and stop_for: the one fault is that a follower stops at this call of the database or the hub, for so many seconds.
sub new {
    my ($class, %option) = @_;
    my $self = bless {
        acts        => 20 + int rand $MOST_ACTS - 20,
        calls       => 0,
        depth       => 0,
        fault       => {},
        has_version => rand() < 0.5,
        lease       => $LEASE,
        needs_hint  => rand() < 0.05,
        now         => 1000,
        pause       => rand() < 0.5 ? 0.05 : 1,
        problems    => [],
        rows        => {},                              # all that were written, by their tokens
        seq         => 0,                               # of commits
        %option,
    }, $class;
    $self->_choose_faults if !$option{fault} && !defined $option{stop_at};
    my $remembers_all = !$option{calm} && rand() < 0.6;
    my $keep          = rand() < 0.2 ? 5 : 0;
    $self->{keep}     = $keep;
    $self->{has_all}  = $remembers_all;
    $self->{database} = Testing::OutboxModel::Database->new($self);
    $self->{hub}      = Testing::OutboxModel::Hub->new(
        $self,
        keys => $remembers_all || $option{calm} ? 1_000_000 : 1 + int rand 20,
        seconds => $remembers_all ? 1_000_000 : $option{calm} ? 2 * $LEASE : rand 30
    );
    my $count = ($option{calm} || '') eq 'database' ? 1 : 2 + int rand 2;
    $self->{followers} = [map { $self->_new_follower } 1 .. $count];
    $self->{producers} = [map { {} } 1 .. $PRODUCERS];
    return $self;
}

sub run {
    my $self = shift;
    local $SIG{__WARN__} = sub { $self->_problem("a warning: $_[0]") };
    $self->_act for 1 .. $self->{acts};
    $self->_heal;
    $self->_settle(($self->{has_jumped} ? 2 : 1) * $LEASE + 10);
    return @{$self->{problems}} if !$self->_lasting;

    # Rows that are refused are given up while others are published.
    my $until = $self->{now} + $GIVEN_UP * grep { $_->{poison} eq 'lasting' } values %{$self->{rows}};
    while ($self->{now} < $until && $self->_lasting && !@{$self->{problems}}) {
        my $open = $self->{database}->begin;
        $self->_write($open, 'other');
        $self->_commit($open);
        $self->_settle($LEASE + 10);
        $self->elapse(5);
    }
    my %lasting = $self->_lasting;
    $self->_problem("row $lasting{$_} of $_ is refused for ever") for sort keys %lasting;
    $self->_settle($LEASE + 10);
    return @{$self->{problems}};
}

# Methods for the database and the hub

# Other things happen in the middle of a call: its follower is stopped.
sub interrupt {
    my $self     = shift;
    my $is_its   = defined $self->{stop_at} && $self->{depth} == 1 && ++$self->{calls} == $self->{stop_at};
    my $is_other = $self->{depth} < 3 && $self->happens('stop_inside');
    return $self->_act if !$is_its && !$is_other && $self->{depth} < 3 && $self->happens('meanwhile');
    return if !$is_its && !$is_other;
    my $until = $self->{now} + ($is_its ? $self->{stop_for} : $self->_some_seconds);
    my $most  = 60;
    $self->_act while $self->{now} < $until && $most--;
    $self->elapse($until - $self->{now}) if $self->{now} < $until;
    return;
}

sub happens {
    my ($self, $fault) = @_;
    my $rate = $self->{fault}{$fault} or return !!0;
    return rand() < $rate;
}

sub note_published {
    my ($self, $row) = @_;
    my $name = "row $row->{token} of $row->{group}";
    $self->_problem("$name is published, and its transaction is not committed") if !defined $row->{seq};

    # A row that nobody can mark is all the next follower knows, and the hub of a calm run forgets.
    my $is_known = $self->{has_all} || $self->{calm} && !($row->{is_stuck} && $self->{calm} eq 'stop');
    $self->_problem("$name is published again") if $row->{published}++ && $is_known;
    return if $row->{published} > 1 || $row->{is_free};
    my @before =
        grep { $_->{seq} < $row->{seq} && !$_->{published} && !$_->{is_exempt} && !$self->_is_dead($_) }
        @{$self->{committed}{$row->{group}}};
    $self->_problem("$name is published before row $_->{token}") for @before;
    return;
}

sub elapse {
    my ($self, $seconds) = @_;
    $self->{now} += $seconds;
    return;
}

# The row of an event. A row that is refused for good holds no place.
sub row_of {
    my ($self, $event) = @_;
    my $row = $self->{rows}{$event->{data}} or die "an event that nobody has written\n";
    $row->{is_exempt} = 1 if $row->{poison} && $row->{poison} ne 'lasting';
    return $row;
}

# A step of a follower: one that is due, or after a while. A loop may call it sooner, if a descriptor is readable.
sub step_one {
    my ($self, $is_patient) = @_;
    my @ready = grep { !$_->{is_busy} && !$_->{is_dead} && $_->{stopped_until} <= $self->{now} } @{$self->{followers}};
    return $self->_wait if !@ready;
    my $entry = $ready[rand @ready];
    if ($is_patient) {
        my @due = grep { $_->{due} <= $self->{now} } @ready;
        if (!@due) {
            $self->elapse(min(map { $_->{due} } @ready) - $self->{now});
            @due = grep { $_->{due} <= $self->{now} } @ready;
        }
        $entry = $due[rand @due];
    }
    local $entry->{is_busy} = 1;
    local $self->{depth}    = $self->{depth} + 1;
    my $pause = eval { $entry->{follower}->step };
    return $self->_problem("a step dies: $@") if !defined $pause;
    $self->_check_pause($entry, $pause);
    $entry->{due} = $self->{now} + ($pause || 0);
    $self->_stop($entry) if $self->happens('stop');
    return;
}

sub _choose_faults {
    my $self = shift;
    my $calm = $self->{calm} && $CALM{$self->{calm}};
    for my $fault (sort keys %FAULT) {
        my $rate = ($calm || \%FAULT)->{$fault} or next;
        $self->{fault}{$fault} = $rate * (rand() < 0.3 ? 3 : 1) if $calm || rand() < 0.35;
    }
    return;
}

sub _new_follower {
    my $self = shift;
    my ($world, %entry)  = ($self, due => 0, stopped_until => 0);
    my ($database, $hub) = @$self{qw(database hub)};
    $entry{follower} = $self->{class}->new(
        clock            => sub { $world->{now} },
        connect_database => sub {
            die "the database cannot be reached\n" if $database->is_away;
            return {generation => $database->{generation}};
        },
        connect_hub  => sub { $entry{is_cut} ? die "the hub is on the other side\n" : $hub->connect },
        database_for => sub {
            return $entry{handle} = Testing::OutboxModel::Handle->new($database, $world, keep => $world->{keep});
        },
        keep   => $self->{keep},
        lease  => rand() < 0.3 ? 3 : $LEASE,
        report => sub { push @{$world->{lines}}, $_[0] },
        table  => 'outbox',
    );
    return \%entry;
}

# One thing happens.
sub _act {
    my $self = shift;
    $self->elapse(rand 0.1);
    $self->_run_late;
    my $what = rand;
    return $self->_produce         if $what < 0.35;
    return $self->_break_something if $what < 0.45;
    return $self->step_one(rand() < 0.5);
}

sub _run_late {
    my ($self, $all) = @_;
    $self->{database}->run_late($all);
    $self->{hub}->run_late($all);
    return;
}

sub _wait {
    my $self = shift;
    return $self->elapse(rand 3);
}

# A follower that waits without work has seen each notification.
sub _check_pause {
    my ($self, $entry, $pause) = @_;
    return if !$pause || !$entry->{follower}{look_at} || !$entry->{handle} || !$entry->{follower}{database};
    return if !$entry->{follower}{held_until} || !$entry->{follower}{hub};
    $self->_problem('a follower sleeps on a notification') if $entry->{handle}{is_absorbed};
    return;
}

# In calm runs, only one follower with work is stopped, and no other one beside it.
sub _stop {
    my ($self, $entry) = @_;
    if ($self->{calm}) {
        my @stopped = grep { $_ != $entry && $_->{stopped_until} > $self->{now} } @{$self->{followers}};
        return if @stopped && grep { @{$_->{follower}{taken}} || @{$_->{follower}{dead}} } $entry, @stopped;
    }
    $entry->{stopped_until} = $self->{now} + $self->_some_seconds;
    return;
}

# Shorter or longer than the lease.
sub _some_seconds { return $LEASE * (rand() < 0.5 ? rand 1 : 1 + rand 5) }

# Producers

sub _produce {
    my $self     = shift;
    my $producer = $self->{producers}[rand @{$self->{producers}}];
    my $database = $self->{database};
    my $open     = $producer->{transaction} ||= $database->begin;
    my $what     = rand;
    return $self->_write($open) if $what < 0.6 || !@{$open->{rows}};
    if ($what < 0.7) { push @{$open->{savepoints}}, scalar @{$open->{rows}}; return }
    if ($what < 0.78) {
        my $keeps = pop @{$open->{savepoints}};
        splice @{$open->{rows}}, $keeps if defined $keeps;
        return;
    }
    delete $producer->{transaction};
    if ($what < 0.87) { $database->rollback($open); return }
    return $self->_commit($open);
}

# A producer that waits for a lock tries again later. So that two do not wait for each other for ever, it may give up.
sub _write {
    my ($self, $open, $other) = @_;
    my $place = $other ? [$other, undef] : $PLACES[rand @PLACES];
    my ($channel, $key) = @$place;
    my $is_free = $place == $PLACES[-1];
    my $group   = join ' ', $channel, defined $key && length $key ? $key : ();
    return if !$is_free && !$self->{database}->lock($open, $group);
    my $token  = 'row' . (1 + keys %{$self->{rows}});
    my $poison = $other ? '' : rand() < 0.1 ? (qw(croak invalid full bytes lasting))[rand 5] : '';
    my %row    = (token => $token, channel => $channel, event_key => $key, data => $token);
    $row{once} = "once of $token" if rand() < 0.2;
    $row{data} = "\xFF"           if $poison eq 'bytes';
    $self->{rows}{$token} =
        {group => $group, is_free => $is_free, poison => $poison, refused => 0, token => $token};
    $self->{rows}{$token}{is_unmarked} = $row{(qw(is_held is_kept is_stuck))[rand 3]} = 1 if rand() < 0.03 && !$other;
    $self->{rows}{$token}{is_stuck}    = $row{is_stuck};
    $self->{rows}{$token}{is_exempt}   = 1 if $poison && $poison ne 'lasting';
    $self->{database}->insert($open, \%row);
    return;
}

sub _commit {
    my ($self, $open) = @_;
    for my $written (@{$open->{rows}}) {
        my $row = $self->{rows}{$written->{token}};
        $row->{seq} = ++$self->{seq};
        push @{$self->{committed}{$row->{group}}}, $row;
    }
    $self->{database}->commit($open);
    $self->{hub}->hint if $self->{needs_hint};
    return;
}

# Faults

my @EVENTS = (
    [clock         => '_step_clock'],
    [database_away => '_restart_database'],
    [delete        => '_delete_row'],
    [fail_over     => '_fail_over'],
    [hub_away      => '_cut_hub'],
    [hub_kill      => '_kill_hub'],
    [kill          => '_replace_follower'],
    [lock          => '_lock_row'],
    [end           => '_end_follower'],
);

sub _break_something {
    my $self     = shift;
    my @possible = grep { $self->{fault}{$_->[0]} } @EVENTS or return $self->_wait;
    my ($fault, $method) = @{$possible[rand @possible]};
    return if rand() > 10 * $self->{fault}{$fault};
    return $self->$method;
}

sub _step_clock {
    my $self = shift;
    $self->{database}{offset} += (rand(2) - 1) * 5 * $LEASE;
    $self->{has_jumped} = 1;
    return;
}

sub _restart_database {
    my $self = shift;
    $self->_end_transactions(0);
    return $self->{database}->restart(rand() < 0.5 ? rand 3 : $self->_some_seconds);
}

# Somebody deletes a row that waits.
sub _delete_row {
    my $self = shift;
    my @rows = $self->{database}->rows(0) or return;
    my $row  = $rows[rand @rows];
    delete $self->{database}{tables}{$row->{id}};
    $self->{database}->note_change;
    $self->{rows}{$row->{token}}{$_} = 1 for qw(is_exempt is_gone);
    return;
}

# Another session locks a row that waits, for a while.
sub _lock_row {
    my $self = shift;
    my @rows = $self->{database}->rows(0) or return;
    $rows[rand @rows]{locked_until} = $self->{now} + $self->_some_seconds;
    return;
}

# The database continues as a copy that lacks the last commits, and gives their numbers again. Later a copy is made.
sub _fail_over {
    my $self = shift;
    return $self->{database}->make_copy if !$self->{database}{copy};
    $self->_end_transactions(0);
    $self->{rows}{$_->{token}}{is_exempt} = 1 for $self->{database}->rows(2);    # may wait again
    for my $token ($self->{database}->fail_over) { $self->{rows}{$token}{$_} = 1 for qw(is_exempt is_gone) }
    $self->{has_jumped} = 1;
    return;
}

sub _cut_hub {
    my $self = shift;
    $self->{hub}->kill(1, $self->_some_seconds);
    return;
}

sub _kill_hub {
    my $self      = shift;
    my $has_store = $self->{calm} || rand() < 0.5;
    $self->{has_all} = !!0 if !$has_store;
    $self->{hub}->kill($has_store, rand() < 0.5 ? 0 : rand 5);
    return;
}

# A follower is killed, or it ends, and another process begins.
sub _replace_follower {
    my ($self, $ends) = @_;
    my $list = $self->{followers};
    my @idle = grep { !$list->[$_]{is_busy} } 0 .. $#$list or return;
    my $at   = $idle[rand @idle];
    local $list->[$at]{is_busy} = 1;
    local $self->{depth} = $self->{depth} + 1;
    $list->[$at]{follower}->stop if $ends;
    $list->[$at] = $self->_new_follower;
    return;
}

sub _end_follower { return $_[0]->_replace_follower(1) }

sub _end_transactions {
    my ($self, $may_commit) = @_;
    for my $producer (@{$self->{producers}}) {
        my $open = delete $producer->{transaction} or next;
        $may_commit && rand() < 0.5 ? $self->_commit($open) : $self->{database}->rollback($open);
    }
    return;
}

# Nothing fails any more, but that a follower may have ended or lost its hub for good: perhaps the one with the lease.
sub _heal {
    my $self = shift;
    $self->{fault} = {};
    delete $self->{stop_at};
    $self->{database}{away_until} = $self->{hub}{away_until} = 0;
    delete $_->{locked_until} for $self->{database}->rows(0);
    $self->_end_transactions(rand() < 0.5);
    $self->_run_late(1);
    my ($lost, @others) = sort { $self->_has_lease($b) <=> $self->_has_lease($a) } @{$self->{followers}};
    $_->{stopped_until} = 0 for $lost, @others;
    return if !@others || rand() < 0.3;
    $lost->{rand() < 0.5 ? 'is_dead' : 'is_cut'} = 1;
    delete @{$lost->{follower}}{qw(hub hint)};
    return;
}

sub _has_lease { return $_[1]{follower}{holder} eq $_[0]{database}{lease}{holder} ? 1 : 0 }

# A row for which there was no room, or that was refused too often, and that the database knows as a dead letter.
sub _is_dead {
    my ($self, $row) = @_;
    return ($row->{was_full} || $row->{poison} eq 'lasting') && grep { $_->{token} eq $row->{token} }
        $self->{database}->rows(2);
}

# The committed rows that are neither published nor dead letters, and those whose end is wrong.
sub _unsettled {
    my $self  = shift;
    my %state = map { $_->{token} => $_->{state} } values %{$self->{database}{tables}};
    my %id    = map { $_->{token} => $_->{id} } values %{$self->{database}{tables}};
    my @wrong = grep {
               ($state{$_->{token}} // 1) == 2
            && (!$_->{poison} || $_->{poison} eq 'lasting' && $_->{refused} < $REFUSED)
            && !$_->{was_full}
            && !$_->{is_unmarked}
    } values %{$self->{rows}};
    $self->_problem("row $_->{token} is a dead letter, and the hub would take it") for @wrong;
    my %first = $self->_first_of_groups(\&_holds);

    # Where writers do not exclude each other, a row may be committed after one with a greater number.
    return grep { !defined $first{$_->{group}} || !$_->{is_free} && ($id{$_->{token}} // 0) < $first{$_->{group}} }
        grep    { !$_->{is_stuck}              || !$_->{published} } grep {
        my $state          = $state{$_->{token}};
        my $is_dead_letter = $_->{poison} || $_->{was_full} && defined $state && $state == 2;
        defined $_->{seq} && !$_->{is_gone} && (defined $state && $state == 0 || !$_->{published} && !$is_dead_letter)
        } values %{$self->{rows}};
}

# The groups that wait for a row that the hub refuses again and again, each with the number of the first one.
sub _lasting {
    my $self  = shift;
    my %first = $self->_first_of_groups(\&_holds);
    my %is_refused =
        map { $_->{id} => 1 } grep { !$self->{rows}{$_->{token}}{is_stuck} } $self->{database}->rows(0);
    return map { $_ => $first{$_} } grep { $is_refused{$first{$_}} } keys %first;
}

# True if a row holds up those behind it: the hub goes on refusing it, or it has refused it and nobody can mark that.
sub _holds {
    my $row = shift;
    return $row->{poison} eq 'lasting' || $row->{is_stuck} && ($row->{poison} || $row->{was_full});
}

sub _first_of_groups {
    my ($self, $holds) = @_;
    my %first;
    for my $waiting (reverse $self->{database}->rows(0)) {
        my $row = $self->{rows}{$waiting->{token}};
        $first{$row->{group}} = $waiting->{id} if $holds->($row);
    }
    return %first;
}

# Nothing fails any more: what can be published is, within some seconds.
sub _settle {
    my ($self, $seconds) = @_;
    my $bound = $self->{now} + $seconds;
    while ($self->{now} < $bound && $self->_unsettled) {
        $self->elapse(0.01);
        $self->step_one(1);
    }
    $self->_problem("row $_->{token} of $_->{group} waits for ever") for $self->_unsettled;
    return;
}

sub _problem {
    my ($self, $text) = @_;
    push @{$self->{problems}}, $text if @{$self->{problems}} < 5;
    return;
}

1;
