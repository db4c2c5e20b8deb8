package EventSource::XS::Outbox::Database::PostgreSQL;
use strict;
use warnings;

# An outbox in PostgreSQL, by DBD::Pg. A trigger of the table notifies followers at each commit.
#
# The server converts texts to UTF-8. A database with the encoding SQL_ASCII takes any bytes, and one with WIN1252 some that are
# no character, so a single text fails the statement for all rows. Then each row is read alone.

use parent 'EventSource::XS::Outbox::Database';

# Public methods

# An index helps where it is the same for all rows.
sub ago { return "now() - $_[1]::double precision * interval '1 second'" }

sub attributes { return (pg_placeholder_dollaronly => 0) }

sub beginning_of { return $_[0]->bytes_of("substr($_[1]::text, 1, $_[2])") }

sub bytes_of { return $_[0]{has_bytes} ? "convert_to($_[1]::text, getdatabaseencoding())" : $_[1] }

# A follower that is ended while it waits for a lock leaves a process of the server, which waits for that. A statement waits a
# second for a lock: then a follower sets the rows aside.
sub bound_statements {
    my ($self, $seconds) = @_;
    $self->{dbh}->do('SET statement_timeout = ' . int 1000 * $seconds);
    $self->{dbh}->do('SET lock_timeout = 1000');
    return;
}

# The socket, readable when a notification has come.
sub descriptor { return $_[0]{dbh}{pg_socket} }

# The driver keeps each notification until it is taken, so only a follower that reads rows listens. Policies may have been made
# since the last time.
sub acquire_lease {
    my ($self, @lease) = @_;
    $self->check_policies;
    my $is_held = $self->SUPER::acquire_lease(@lease) ? 1 : 0;
    return $is_held if $is_held == ($self->{is_listening} || 0);
    $self->{dbh}->do($is_held ? qq{LISTEN "$self->{table}"} : 'UNLISTEN *');
    $self->is_notified;
    $self->{is_listening} = $is_held;
    return $is_held;
}

# Characters: character_not_in_repertoire, untranslatable_character.
sub is_of_row { return $_[0]{dbh}->state =~ /\A(?:22021|22P05)\z/ }

# The answer to a statement may bring a notification of a commit that the statement did not see. Then the socket is not
# readable again.
sub is_notified {
    my $self  = shift;
    my $count = 0;
    $count++ while $self->{dbh}->pg_notifies;
    return $count > 0;
}

# The driver's ping returns 3 or 4 then.
sub has_transaction { return $_[1]->ping > 2 }

sub may_have_changed {
    my $self = shift;
    $self->is_notified;
    return !!1;
}

sub literal_of { return $_[0]{dbh}->quote($_[1]) }

# A problem may have characters that the encoding of the database lacks.
sub mark_dead {
    my ($self, $row, $problem) = @_;
    my $count;
    local ($@, $SIG{__DIE__});
    return $count if eval { $count = $self->SUPER::mark_dead($row, $problem); 1 };
    die $@        if !$self->is_of_row;
    return $self->SUPER::mark_dead($row, $problem =~ s/[^\x00-\x7F]/?/gr);
}

sub needs_hint { return !!0 }

sub now { return 'extract(epoch FROM clock_timestamp())::double precision' }

sub pause { return 1 }

sub prepare_handle {
    my $self = shift;
    my $dbh  = $self->{dbh};
    $dbh->do(q{SET client_encoding TO 'UTF8'});
    $dbh->do('SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED');
    $dbh->{$_} = 0 for qw(pg_bool_tf pg_enable_utf8 pg_errorlevel);    # the details of an error have the data of rows
    die "this is a standby server: the DSN must lead to the primary server\n"
        if $dbh->selectrow_array('SELECT pg_is_in_recovery()');
    $self->{is_listening} = 0;
    return;
}

# The bytes that the database has, of all texts.
sub row_without {
    my ($self, $where, $columns, $texts, @bad) = @_;
    my $encoding = $self->{dbh}->selectrow_array('SELECT getdatabaseencoding()');
    local $self->{has_bytes} = 1;
    my @row = $self->select_rows($where, $columns, $texts);
    $_->{unreadable} = "$bad[0] cannot become UTF-8: the encoding of the database is $encoding" for @row;
    return @row;
}

sub seconds_of { return "extract(epoch FROM $_[1])::double precision" }

sub size_of { return "octet_length($_[1]::text)" }

sub text_of_hex {
    my ($class, $hex, $column) = @_;
    return "convert_from(decode('$hex', 'hex'), 'UTF8')" . ($column eq 'json' ? '::json' : '');
}

sub timestamp { return 'clock_timestamp()' }

sub trouble_of_policies {
    my $self   = shift;
    my $table  = $self->{table};
    my %needs  = ($table => 'rwd', "${table}_follower" => 'rw');
    my ($user) = $self->{dbh}->selectrow_array('SELECT current_user');
    my @found;
    for my $name (sort keys %needs) {
        my ($is_missing, $is_conditional) = $self->_policies($name, $needs{$name});
        my ($verdict,    $hides) = $is_missing ? ('wrong', 'hides') : $is_conditional ? ('warning', 'may hide') : next;
        @found = (
            $verdict,
            "$hides rows of $name from the user $user by row-level security",
            "CREATE POLICY follower ON $name TO $user USING (true), or ALTER ROLE $user BYPASSRLS"
        ) if $is_missing || !@found;
    }
    return @found;
}

sub troubles {
    my $self = shift;
    my ($has_trigger) = $self->{dbh}->selectrow_array(
        q{SELECT count(*) FROM pg_trigger WHERE tgrelid = ?::regclass AND tgname = 'notify' AND tgenabled IN ('A', 'O')},
        undef, $self->{table}
    );
    return if $has_trigger;
    return [
        'warning',
        'has no trigger that notifies the follower, so a commit waits up to a second (--poll)',
        'Unless that is on purpose, make the one that eventsource outbox --schema pg prints.'
    ];
}

# Private methods

# Whether row-level security lets this user not do all of the acts with rows (the letters of pg_policy), and whether it does so
# under a condition. A policy without USING shows no rows, and hides none. Numbers, because drivers differ in booleans.
sub _policies {
    my ($self, $table, $acts) = @_;
    my $mine =
        '0 = ANY (polroles) OR EXISTS (SELECT 1 FROM unnest(polroles) AS role WHERE pg_has_role(role, \'USAGE\'))';
    my $qual = q{coalesce(pg_get_expr(polqual, polrelid), CASE WHEN polpermissive THEN 'false' ELSE 'true' END)};
    return $self->{dbh}->selectrow_array(
        'SELECT (NOT bool_and(any_of))::integer, (NOT bool_and(all_of))::integer FROM (SELECT'
            . ' coalesce(bool_or(polpermissive AND polqual IS NOT NULL), false) AS any_of,'
            . " coalesce(bool_or(polpermissive AND $qual = 'true')"
            . " AND bool_and(polpermissive OR $qual = 'true'), false) AS all_of"
            . ' FROM regexp_split_to_table(?, \'\') AS act LEFT JOIN pg_policy'
            . " ON polrelid = ?::regclass AND polcmd IN ('*', act::\"char\") AND ($mine)"
            . ' WHERE row_security_active(?::regclass) GROUP BY act) AS acts',
        undef, $acts, $table, $table
    );
}

1;
