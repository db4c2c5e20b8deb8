package EventSource::XS::Outbox::Database::MySQL;
use strict;
use warnings;

# An outbox in MariaDB or MySQL, by DBD::MariaDB or DBD::mysql. These notify nobody, so the follower asks.

use parent 'EventSource::XS::Outbox::Database';
use List::Util qw(max);

# The errors of a statement that does not wait for a lock: of MariaDB, of MySQL.
my %IS_LOCKED = map { $_ => 1 } 1205, 3572;

# Public methods

sub ago { return "NOW(6) - INTERVAL $_[1] SECOND" }

# A prepared statement of DBD::mysql takes memory for the longest text that a column can have, 4 GB.
sub attributes { return $_[1]{Driver}{Name} eq 'mysql' ? (mysql_server_prepare => 0) : () }

# A statement waits a second for rows. Then a follower sets them aside.
sub bound_statements {
    my ($self, $seconds) = @_;
    $self->{dbh}->do('SET SESSION lock_wait_timeout = ' . int max(1, $seconds));
    $self->{dbh}->do('SET SESSION innodb_lock_wait_timeout = 1');
    return;
}

# A statement that reads a small table as a whole would wait for the locks of rows that are not its own.
sub by_id { return "$_[0]{table} FORCE INDEX (PRIMARY)" }

sub deletion { return "DELETE o FROM $_[0]{table} AS o FORCE INDEX (PRIMARY)" }

# A column may have any character set, or none.
sub bytes_of {
    my ($self, $text) = @_;
    return
        "CASE CHARSET($text) WHEN 'binary' THEN CAST($text AS BINARY) ELSE CAST(CONVERT($text USING utf8mb4) AS BINARY) END";
}

# A server may begin connections without autocommit, of which DBI does not know.
sub commits_each { return $_[1]->selectrow_array('SELECT @@autocommit') }

# In a transaction this statement is an error. It is for the next transaction only, which is ours.
sub has_transaction {
    my ($class, $dbh) = @_;
    local $dbh->{HandleError} = undef;
    local ($@, $SIG{__DIE__});
    return !eval { $dbh->do('SET TRANSACTION ISOLATION LEVEL READ COMMITTED'); 1 };
}

sub end_transaction { return $_[1]->do('ROLLBACK') }

# MariaDB 10.5 does not know SKIP LOCKED.
sub lockable_of {
    my ($self, @rows) = @_;
    my $dbh = $self->{dbh};
    local ($@, $SIG{__DIE__});
    return map {
        my $row = $_;
        my $ids = eval { $dbh->selectcol_arrayref($self->lock_of($row) . ' NOWAIT') };
        die $@ if !$ids && !$IS_LOCKED{$dbh->err // 0};
        @{$ids || []};
    } @rows;
}

# In the zone of an application's session an hour comes twice in autumn.
sub now { return q{TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) / 1e6} }

# A question costs the database some 0.1 milliseconds.
sub pause { return 0.05 }

# With REPEATABLE READ the deletion of rows would lock gaps, and producers would wait for it.
sub prepare_handle {
    my $self = shift;
    my $dbh  = $self->{dbh};
    $dbh->{lc($dbh->{Driver}{Name}) . '_auto_reconnect'} = 0;
    $dbh->do('SET NAMES utf8mb4');
    $dbh->do(q{SET SESSION time_zone = '+00:00'});    # as for now: timestamp
    $dbh->do('SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED');

# In MariaDB a producer may write rows without the table's checks, and such a row could not become a dead letter with them.
# MySQL lacks the setting.
    local ($@, $SIG{__DIE__});
    eval { $dbh->do('SET SESSION check_constraint_checks = 0') };
    return;
}

# A text that is longer than max_allowed_packet is NULL when it is read, with a warning: the setting may have been larger
# before.
sub rows {
    my ($self, $where, $columns, $texts) = @_;
    my $dbh  = $self->{dbh};
    my @rows = $self->SUPER::rows($where, $columns, $texts);
    return @rows if !$dbh->{lc($dbh->{Driver}{Name}) . '_warning_count'};
    for my $row (@rows) {
        my @lacking  = grep { !defined $row->{$_} } @$texts or next;
        my $is_there = join ', ', map { "$_ IS NOT NULL" } @lacking;
        my @is_there = $dbh->selectrow_array("SELECT $is_there FROM $self->{table} WHERE id = $row->{id}");
        my ($long)   = map { $lacking[$_] } grep { $is_there[$_] } 0 .. $#is_there;
        $row->{unreadable} = "$long is longer than max_allowed_packet of the database: raise that" if defined $long;
    }
    return @rows;
}

sub seconds_of { return "UNIX_TIMESTAMP($_[1])" }

sub size_of { return "LENGTH($_[1])" }

sub text_of_hex { return "CONVERT(X'$_[1]' USING utf8mb4)" }

sub timestamp { return 'NOW(6)' }

# InnoDB shows a commit before its log is on the disk, and a crash undoes such a one. A commit of the follower's own waits for
# the disk, and so for all of the log before it. It has to change something.
sub waiting {
    my ($self, @bounds) = @_;
    my @rows = $self->SUPER::waiting(@bounds) or return;
    $self->{dbh}->do("UPDATE $self->{table}_follower SET held_until = held_until + 0.000001 WHERE id = 1");
    return @rows;
}

1;
