package Testing::OutboxModel::Database;
use Testing;

# A database in memory with the tables of an outbox, for Testing::OutboxModel: a row's number is given when it is written, its
# transaction commits later or never, writers of a key wait for each other, and a follower reads what is committed. Followers
# reach it through handles of Testing::OutboxModel::Handle. It can fail over to an older copy of itself.

sub new {
    my ($class, $world) = @_;
    return bless {
        away_until => 0,
        changes    => 0,       # commits
        copy       => undef,
        generation => 0,       # of its processes: a handle of an older one is closed
        last_id    => 0,
        late       => [],      # statements that are carried out later, each with its time
        lease      => {holder => '', held_until => 0, lease => 0},
        locks      => {},                                            # the transaction that has each
        offset     => 0,                                             # of its clock
        tables     => {},                                            # the committed rows by their numbers
        world      => $world,
    }, $class;
}

# The clock of the leases.
sub now { return $_[0]{world}{now} + $_[0]{offset} }

sub is_away { return $_[0]{world}{now} < $_[0]{away_until} }

# Transactions of producers

sub begin { return {locks => [], rows => [], savepoints => []} }

# Returns false if another transaction has the lock: the producer waits.
sub lock {
    my ($self, $transaction, $name) = @_;
    my $owner = $self->{locks}{$name};
    return $owner == $transaction if $owner;
    $self->{locks}{$name} = $transaction;
    push @{$transaction->{locks}}, $name;
    return !!1;
}

sub insert {
    my ($self, $transaction, $row) = @_;
    push @{$transaction->{rows}}, {%$row, id => ++$self->{last_id}, state => 0};
    return;
}

sub commit {
    my ($self, $transaction) = @_;
    $self->{tables}{$_->{id}} = $_ for @{$transaction->{rows}};
    $self->note_change if @{$transaction->{rows}};
    $self->_unlock($transaction);
    return @{$transaction->{rows}};
}

sub rollback {
    my ($self, $transaction) = @_;
    $self->_unlock($transaction);
    return splice @{$transaction->{rows}};
}

# Events that happen to it

# Something was committed, by a handle or a producer.
sub note_change {
    my ($self, $handle) = @_;
    $self->{changes}++;
    $handle->{own_changes}++ if $handle;
    $_->take_notification for grep { $_ } @{$self->{handles}};
    return;
}

# Carries out the statements whose time has come.
sub run_late {
    my ($self, $all) = @_;
    my $now = $self->{world}{now};
    my @due = grep { $all || $_->[0] <= $now } @{$self->{late}} or return;
    $self->{late} = [
        grep {
            my $it = $_;
            !grep { $_ == $it } @due
        } @{$self->{late}}
    ];
    for my $late (@due) {
        eval { $late->[1]->() }
    }    # nobody learns what it refuses
    return;
}

# Closes all handles.
sub restart {
    my ($self, $seconds) = @_;
    $self->{generation}++;
    $self->{away_until} = $self->{world}{now} + $seconds;
    $self->{late}       = [];
    return;
}

sub make_copy {
    my $self = shift;
    my %rows = map { $_ => {%{$self->{tables}{$_}}} } keys %{$self->{tables}};
    $self->{copy} = {last_id => $self->{last_id}, lease => {%{$self->{lease}}}, tables => \%rows};
    return;
}

# Continues as the copy, without the last commits. Returns the tokens of the rows that waited and are gone.
sub fail_over {
    my $self  = shift;
    my $copy  = delete $self->{copy} or return;
    my %stays = map  { $_->{token} => 1 } values %{$copy->{tables}};
    my @gone  = grep { !$stays{$_} } map { $_->{token} } values %{$self->{tables}};
    @$self{qw(last_id lease tables)} = @$copy{qw(last_id lease tables)};
    $self->{changes}++;
    $self->restart(0);
    return @gone;
}

sub rows {
    my ($self, $state) = @_;
    my $rows = $self->{tables};
    return map { $rows->{$_} } sort { $a <=> $b } grep { $rows->{$_}{state} == $state } keys %$rows;
}

sub _unlock {
    my ($self, $transaction) = @_;
    delete @{$self->{locks}}{splice @{$transaction->{locks}}};
    return;
}

package Testing::OutboxModel::Handle;

# A follower's connection to the database, with the methods of EventSource::XS::Outbox::Database. Whatever it is asked may fail
# before or after its effect, may have its effect later, and may take long.

# Arguments: the database, the world, the seconds for which published rows are kept.
sub new {
    my ($class, $database, $world, %option) = @_;
    my $self = bless {database => $database, own_changes => 0, world => $world, %option}, $class;
    return $self;
}

sub attach {
    my ($self, $connection) = @_;
    $self->{generation} = $connection->{generation};
    @{$self->{database}{handles}} = ((grep { $_ && $_->is_open } @{$self->{database}{handles}}), $self);
    $self->_ask(sub { });
    return;
}

sub detach { $_[0]{generation} = -1; return }

sub is_open { return $_[0]{generation} == $_[0]{database}{generation} }

sub descriptor { return undef }

sub pause { return $_[0]{world}{pause} }

sub needs_hint { return $_[0]{world}{needs_hint} }

# A commit notifies. If a statement runs just now, its answer brings the notification, and the socket is not readable again.
sub take_notification {
    my $self = shift;
    $self->{is_asking} ? ($self->{is_absorbed} = 1) : ($self->{is_readable} = 1);
    return;
}

sub is_notified {
    my $self = shift;
    return $self->{is_absorbed} && delete $self->{is_absorbed} || delete $self->{is_readable};
}

# As the number of SQLite: it changes with the commits of others.
sub may_have_changed {
    my $self = shift;
    delete @$self{qw(is_absorbed is_readable)};
    return !!1 if !$self->{world}{has_version};
    my ($version) = $self->_ask(sub { $self->{database}{changes} - $self->{own_changes} });
    my $is_same = defined $self->{version} && $self->{version} == $version;
    $self->{version} = $version;
    return !$is_same;
}

sub acquire_lease {
    my ($self, $holder, $seconds) = @_;
    my $database = $self->{database};
    my ($is_held) = $self->_ask(
        sub {
            my ($lease, $now) = ($database->{lease}, $database->now);
            my $until = $lease->{held_until};
            return !!0 if $lease->{holder} ne $holder && $until >= $now && $until <= $now + 2 * $lease->{lease};
            @$lease{qw(holder held_until lease)} = ($holder, $now + $seconds, $seconds);
            return !!1;
        }
    );
    return $is_held;
}

sub count_dead {
    my $self = shift;
    return +($self->_ask(sub { scalar(() = $self->{database}->rows(2)) }))[0];
}

sub release_lease {
    my ($self, $holder) = @_;
    my $database = $self->{database};
    $self->_ask(sub { $database->{lease}{held_until} = 0 if $database->{lease}{holder} eq $holder });
    return;
}

sub waiting {
    my ($self, $most, $of_groups, $others) = @_;
    my $limit       = 1 + int rand 8;
    my %is_of_other = map { _group_of($_) => 1 } @$of_groups;
    my %is_other    = map { ("$_->{id} $_->{token}" => 1) } @$others;
    return $self->_ask(
        sub {
            my @rows = map { +{%$_} }
                grep { !$is_of_other{_group_of($_)} && !$is_other{"$_->{id} $_->{token}"} } $self->{database}->rows(0);
            splice @rows, $limit if @rows > $limit;
            return @rows;
        }
    );
}

sub acknowledge {
    my ($self, @rows) = @_;
    my $database = $self->{database};
    my ($count) = $self->_ask(
        sub {
            my @these = $self->_these(@rows);
            $self->_refuse_locked(@these);
            die "a trigger holds row $_->{id}\n" for grep { $_->{is_held} || $_->{is_stuck} } @these;
            @these = grep { !$_->{is_kept} } @these;
            for my $row (@these) {
                if ($self->{keep}) { @$row{qw(state finished)} = (1, $database->now) }
                else               { delete $database->{tables}{$row->{id}} }
            }
            $database->note_change($self);
            return scalar @these;
        }
    );
    return $count;
}

sub refusals {
    my $self = shift;
    return (
        follow => eval {
            $self->_ask(sub { });
            1;
        } ? undef : $@
    );
}

sub waiting_of {
    my ($self, @rows) = @_;
    return $self->_ask(
        sub {
            map { $_->{id} } grep { $_->{state} == 0 } $self->_these(@rows);
        }
    );
}

sub locked_of {
    my ($self, @rows) = @_;
    return $self->_ask(
        sub {
            map { $_->{id} } grep { $_->{state} == 0 && $self->_is_locked($_) } $self->_these(@rows);
        }
    );
}

sub mark_dead {
    my ($self, $row, $problem) = @_;
    my ($count) = $self->_ask(
        sub {
            my @these = grep { $_->{state} == 0 } $self->_these($row);
            $self->_refuse_locked(@these);
            die "a trigger holds row $_->{id}\n" for grep { $_->{is_stuck} } @these;
            @$_{qw(state problem)} = (2, $problem) for @these;
            $self->{database}->note_change($self);
            return scalar @these;
        }
    );
    return $count;
}

sub expire {
    my ($self, $seconds) = @_;
    my $database = $self->{database};
    my ($count) = $self->_ask(
        sub {
            my @rows = grep { $database->now - $_->{finished} > $seconds } $database->rows(1);
            delete $database->{tables}{$_->{id}} for @rows;
            return scalar @rows;
        }
    );
    return $count;
}

sub _is_locked { return ($_[1]{locked_until} || 0) > $_[0]{world}{now} }

sub _refuse_locked {
    my ($self, @rows) = @_;
    for (@rows) {
        die "another session has locked row $_->{id}\n" if $self->_is_locked($_);
    }
    return;
}

sub _group_of { return join "\0", $_[0]{channel}, $_[0]{event_key} // '' }

# A row that is given without a token is any with its number.
sub _these {
    my ($self, @given) = @_;
    my $rows = $self->{database}{tables};
    return grep { $_ } map {
        my $row = $rows->{$_->{id}};
        $row && (!defined $_->{token} || $_->{token} eq $row->{token}) ? $row : undef
    } @given;
}

sub _ask {
    my ($self,  $effect)   = @_;
    my ($world, $database) = @$self{qw(world database)};
    local $self->{is_asking} = 1;
    $world->interrupt;
    $self->_fail_if_closed;
    $self->_fail if $world->happens('database_before');
    if ($world->happens('database_late')) {
        push @{$database->{late}}, [$world->{now} + rand 3 * $world->{lease}, $effect];
        $self->_fail;
    }
    my @answer = $effect->();
    $world->interrupt;
    $self->_fail_if_closed;
    $self->_fail if $world->happens('database_after');
    return @answer;
}

sub _fail_if_closed {
    my $self = shift;
    $self->_fail if !$self->is_open || $self->{database}->is_away;
    return;
}

sub _fail {
    my $self = shift;
    $self->detach;
    die "the database has closed the connection\n";
}

1;
