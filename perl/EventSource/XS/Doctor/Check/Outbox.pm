package EventSource::XS::Doctor::Check::Outbox;
use strict;
use warnings;

# Judges the table of an outbox: its presence, the rights of this user, the age of its rows.

use EventSource::XS::Doctor::Finding qw(duration judged number ok wrong);
use EventSource::XS::Outbox::Database;
use EventSource::XS::Reason;

my $DATABASE = 'EventSource::XS::Outbox::Database';

my $PATIENCE = 60;    # seconds that a row may wait while somebody follows

# Public methods

sub findings {
    my ($class, $seen) = @_;
    return if !$seen->{connect_database};
    local ($@, $SIG{__DIE__});
    my $database = eval {
        my $dbh = $seen->{connect_database}->();
        $DATABASE->class_for($dbh)->new(dbh => $dbh, table => $seen->{table});
    };
    return wrong(
        'The database of the outbox takes no connection: ' . _reason($@) . '.',
        'Check that the database runs, the DSN, the user and the password, and that its driver (DBD::...) is installed.'
    ) if !$database;
    return eval { _judge($database, $seen) } || wrong("The outbox $seen->{table} cannot be read: " . _reason($@) . '.',
        'Check the database, and that the table is as eventsource outbox --schema prints it.');
}

# Private functions

sub _judge {
    my ($database, $seen) = @_;
    my $name    = "The outbox $seen->{table}";
    my %refused = $database->refusals;
    $seen->measure(outbox => map { ("may_$_" => defined $refused{$_} ? 0 : 1) } qw(follow insert));
    return _unusable($name, $database, %refused) if defined $refused{follow};
    my $problem = $database->problem_of_version;
    return wrong(ucfirst "$problem.",
        'Install the release that made the table, or make the table anew when all rows are published.')
        if defined $problem;
    my @of_policies = $database->trouble_of_policies;
    return wrong("$name $of_policies[1].", "$of_policies[2].") if @of_policies && $of_policies[0] eq 'wrong';
    my $counts = $database->counts;
    $seen->measure(outbox => %$counts);
    my $figures  = join ' ', grep { defined } _figures($counts, $refused{insert}), $database->caution;
    my @troubles = (_troubles($counts, $seen), (@of_policies ? \@of_policies : ()), $database->troubles);
    return judged($name, 'is followed', $figures, @troubles);
}

sub _figures {
    my ($counts, $is_refused) = @_;
    my $waiting = $counts->{waiting};
    my $holder  = defined $counts->{follower} ? join ', process ', (split / /, $counts->{follower})[0, 1] : undef;
    return join ', ',
        'It has ' . number($waiting, 'row that waits', 'rows that wait'),
        $waiting ? 'the oldest for ' . duration($counts->{oldest_age}) : (),
        number($counts->{dead_letters}, 'dead letter', 'dead letters'),
        (defined $holder ? "a follower ($holder)" : 'no follower')
        . '; this user may follow it, and may '
        . (defined $is_refused ? 'not write rows.' : 'write rows.');
}

sub _reason { return EventSource::XS::Reason->of($_[0]) =~ s/\s*\n\s*/ /gr =~ s/[\s.]+\z//r }

# A producer needs no more than the right to insert.
sub _unusable {
    my ($name, $database, %refused) = @_;
    return ok("$name takes rows of this user, who may not follow it ("
            . _reason($refused{follow})
            . '). As the user of the follower the doctor looks at its rows, too.')
        if !defined $refused{insert};
    return wrong(
        "$name can neither be written nor followed: " . _reason($refused{follow}) . '.',
        $refused{follow} =~ /read-?only/i
        ? 'The DSN must lead to the primary server, and the database must be writable.'
        : 'If there is no such table, make it with the statements of eventsource outbox --schema '
            . $database->schema_kind
            . '. Otherwise grant the rights (perldoc EventSource::Deployment, "Tables and rights").'
    );
}

# The troubles, as judged of EventSource::XS::Doctor::Finding takes them.
sub _troubles {
    my ($counts, $seen) = @_;
    my ($has_follower, $dead, $age) = (defined $counts->{follower}, @$counts{qw(dead_letters oldest_age)});
    return grep { shift @$_ } (
        [
            !$has_follower,
            $counts->{waiting} ? 'wrong' : 'warning',
            'is followed by nobody, so nothing that is committed is published',
            'Run eventsource outbox --hub ' . ($seen->{hub} // 'NAME') . ' --dsn ... as a service.'
        ],
        [
            $has_follower && $age > $PATIENCE,
            wrong => 'has a row that has waited for ' . duration($age) . ', although somebody follows',
            'Read its log: the hub or its store takes nothing (eventsource hub check), or the rows are more than it can publish.'
        ],
        [
            $dead,
            warning => 'has ' . number($dead, 'dead letter', 'dead letters'),
            'The column problem of rows with state = 2 has the reason. Mend or delete them, then run eventsource outbox --retry.'
        ],
    );
}

1;
