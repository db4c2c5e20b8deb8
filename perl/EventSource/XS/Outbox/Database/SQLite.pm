package EventSource::XS::Outbox::Database::SQLite;
use strict;
use warnings;

# An outbox in SQLite, by DBD::SQLite. SQLite notifies nobody, but the number of its commits costs no disk access, so the
# follower compares it often.

use parent 'EventSource::XS::Outbox::Database';
use EventSource::XS::Outbox::FollowerProcess;
use List::Util qw(first);

# SQLite reads a text as a whole, and writes a row as a whole. So a follower has a bound for both, which is above that of a row
# that is published.
my $LIMIT_LENGTH = 0;          # SQLITE_LIMIT_LENGTH
my $MAX_LENGTH   = 64 << 20;
my $TOO_BIG      = 18;         # SQLITE_TOOBIG

# The first version without the WAL-reset defect (https://sqlite.org/wal.html#walresetbug), and the releases of older versions
# that are mended, too.
my $MENDED = 51;
my %MENDED = (44 => 6, 50 => 7, 51 => 3);

# Public methods

sub ago { return $_[0]->now . " - $_[1]" }

sub attributes { return (sqlite_see_if_its_a_number => 0) }

sub bound_statements {
    my ($self, $seconds) = @_;
    $self->{dbh}->sqlite_busy_timeout(int 1000 * $seconds);
    return;
}

# A text may have a NUL, at which substr ends.
sub beginning_of { return 'substr(' . $_[0]->bytes_of($_[1]) . ", 1, $_[2])" }

# A producer may have written blobs.
sub bytes_of { return "CAST($_[1] AS BLOB)" }

# With a WAL the follower is the second connection, beside that of a producer, that the defect needs.
sub caution {
    my $self = shift;
    my ($version, $minor, $release) = $self->{dbh}{sqlite_version} =~ /\A(3[.]([0-9]+)[.]([0-9]+))/ or return undef;
    my $is_mended = $minor > $MENDED || defined $MENDED{$minor} && $release >= $MENDED{$minor};
    my ($journal) = $self->{dbh}->selectrow_array('PRAGMA journal_mode');
    return undef if $is_mended || $journal ne 'wal';
    return "With journal_mode = WAL, SQLite before 3.51.3 may lose a commit, although very rarely"
        . " (https://sqlite.org/wal.html#walresetbug); this one is $version.";
}

# Another file may have been moved to the place of the one that is open, such as a backup. With a WAL no statement fails then.
sub acquire_lease {
    my ($self, @lease) = @_;
    my $file = _file_of($self->{dbh});
    die "another file has taken the place of the database's\n"
        if defined $file && defined $self->{file} && $file ne $self->{file};
    return $self->SUPER::acquire_lease(@lease);
}

# The handle may be one of the application, which has another bound.
sub dead_letters {
    my ($self, @bounds) = @_;
    my $dbh    = $self->{dbh};
    my $before = _limit_length($dbh, $MAX_LENGTH);
    my @rows;
    local ($@, $SIG{__DIE__});
    my $is_read = eval { @rows = $self->SUPER::dead_letters(@bounds); 1 };
    my $error   = $@;
    _limit_length($dbh, $before);
    return $is_read ? @rows : die $error;
}

sub has_transaction { return !$_[1]->sqlite_get_autocommit }

# Transactions lock the whole file.
sub locked_of { return }

# PRAGMA data_version changes with the commits of others.
sub may_have_changed {
    my $self      = shift;
    my ($version) = $self->{dbh}->selectrow_array('PRAGMA data_version');
    my $is_same   = defined $self->{data_version} && $self->{data_version} == $version;
    $self->{data_version} = $version;
    return !$is_same;
}

sub is_of_row { return ($_[0]{dbh}->err // 0) == $TOO_BIG }

sub needs_hint { return !!0 }

sub now { return q{((julianday('now') - 2440587.5) * 86400.0)} }

# A question takes some 30 microseconds.
sub pause { return 0.02 }

sub prepare_handle {
    my $self = shift;
    delete $self->{data_version};
    $self->{file} = _file_of($self->{dbh});
    die 'this process has '
        . $self->{dbh}->sqlite_db_filename
        . ' open, and SQLite loses its locks when another one is forked: have connect open it alone, or run'
        . qq{ "eventsource outbox" as a process of its own\n}
        if defined $self->{file} && $self->{files}{$self->{file}};

    _limit_length($self->{dbh}, $MAX_LENGTH);

    # A row that was written without the table's checks could not become a dead letter with them.
    $self->{dbh}->do('PRAGMA ignore_check_constraints = ON');
    return;
}

# A row that has more than the bound of this handle. Its texts are not read, but for those that say which one it is.
sub row_without {
    my ($self, $where, $columns, $texts, @bad) = @_;
    my %is_bad = map { $_ => 1 } @bad;
    my @row    = $self->select_rows($where, [], [grep { !$is_bad{$_} } @$texts]);
    $_->{size} = $MAX_LENGTH for @row;
    return @row;
}

# A column takes any text.
sub number_of { return "substr($_[1], 1, 20)" }

sub seconds_of { return $_[1] }

sub size_of { return "length(CAST($_[1] AS BLOB))" }

sub text_of_hex { return "CAST(X'$_[1]' AS TEXT)" }

sub timestamp { return $_[0]->now }

# To compare the group of a row, SQLite reads its channel and key. The first row with a longer one is read alone.
sub waiting {
    my ($self, $rows, $of_groups, $others) = @_;
    my @rows;
    local ($@, $SIG{__DIE__});
    return @rows if eval { @rows = $self->SUPER::waiting($rows, $of_groups, $others); 1 };
    die $@       if !$self->is_of_row;
    my $waits = $self->waits($of_groups, $others);
    my $long  = first {
        my $id = $_->{id};
        !eval { $self->select_rows("id = $id AND $waits", [], []); 1 }
    } $self->select_rows($self->waits([], $others) . ' ORDER BY id', [], []);
    return $long ? $self->waiting_with($MAX_LENGTH, $long->{id}) : ();
}

# Private functions

# Returns the limit that there was before.
sub _limit_length {
    my ($dbh, $bytes) = @_;
    return $dbh->sqlite_limit($LIMIT_LENGTH, $bytes);
}

# The file at the path of the database; undef if there is none.
sub _file_of {
    my $path = $_[0]->sqlite_db_filename;
    return defined $path ? EventSource::XS::Outbox::FollowerProcess->file_of($path) : undef;
}

1;
