package EventSource::XS::Outbox::Database;
use strict;
use warnings;

# The table of an outbox in a database: what a producer writes and a follower reads. A subclass for each kind of database says
# what differs. Each statement is a transaction of its own, but for the row of a producer, which joins the producer's.
#
# All text is written and read as bytes of UTF-8, whatever the handle's settings are, because applications have their own: a
# producer writes characters beyond ASCII as hexadecimal digits, which the database converts, and a follower asks for bytes.

use EventSource::XS::Reason;
use EventSource::XS::Share;
use List::Util qw(min);

my $TABLE   = 'eventsource_outbox';    # unless the user names another one
my $VERSION = 2;                       # of the table

# The drivers of DBI, and the names of schemas for the command line.
my %KIND = (
    MariaDB => 'MySQL',
    mysql   => 'MySQL',
    Pg      => 'PostgreSQL',
    SQLite  => 'SQLite',
);
my %SCHEMA = (PostgreSQL => 'pg', MySQL => 'mysql', SQLite => 'sqlite');

# A name of SQL without quotes, perhaps with its schema. Names that are made of it have at most 63 characters, and so has the
# name of the channel on which PostgreSQL notifies, the whole of it.
my $NAME     = qr/[A-Za-z_][A-Za-z0-9_]{0,39}/;
my $MAX_NAME = 63;

my $MAX_PROBLEM = 1000;    # characters

# The attributes with which a failed statement is an exception, and values are as we read them. A subclass adds its driver's.
my %ATTRIBUTES = (
    ChopBlanks       => 0,
    FetchHashKeyName => 'NAME_lc',
    HandleError      => undef,
    HandleSetErr     => undef,
    PrintError       => 0,
    PrintWarn        => 0,
    RaiseError       => 1,
);

my @TEXTS = qw(channel event_key event event_id data json comment once);
my ($WAITS, $PUBLISHED, $DEAD) = (0, 1, 2);

# What is read has a bound. A batch is one answer of the database, in memory. The texts of a longer row are not read: a hub
# takes no message above 16 MiB, which may have one byte where the text has two (CR LF). Names are read up to a byte more than
# the bound, which is above that of each name.
my $FEW_ROWS        = 16;         # whose sizes are asked at first: a database may read a text to know its size
my $MAX_BATCH_BYTES = 16 << 20;
my $MAX_ROW_BYTES   = 33 << 20;
my $MAX_NAME_BYTES  = 4096;
my @NAMES           = qw(token channel event_key event_id once problem);
my %IS_NAME         = map { $_ => 1 } @NAMES;

sub new {
    my ($class, %option) = @_;
    return bless {%option}, $class;
}

# Public methods

# The class for a handle of DBI. Dies if there is none for its driver.
sub class_for {
    my ($class, $dbh) = @_;
    my $driver = $dbh->{Driver}{Name};
    my $kind   = $KIND{$driver}
        || die "there is no outbox for the driver $driver: use one of "
        . join(', ', map { "DBD::$_" } sort keys %KIND) . "\n";
    my $found = "${class}::$kind";
    (my $file = "$found.pm") =~ s{::}{/}g;
    require $file;
    return $found;
}

# The name of a table, by default that of ours. Calls code with the problem if it is none.
sub table_of {
    my ($class, $given, $refuse) = @_;
    my $table = $given // $TABLE;
    $refuse->(
        'table must be a name of letters, digits and underscores of at most 40 characters, perhaps with its schema,'
            . " such as eventsource_outbox or shop.outbox, of at most $MAX_NAME characters together")
        if length $table > $MAX_NAME || $table !~ /\A$NAME(?:[.]$NAME)?\z/;
    return $table;
}

# The statements that make the table, for one of the kinds of schema. The table of an index of SQLite has no schema.
sub schema {
    my ($class, $kind, $table) = @_;
    my $sql = EventSource::XS::Share->content("outbox/$kind.sql");
    $sql =~ s/\b$TABLE/$table/g;
    $sql =~ s/^CREATE INDEX .* ON \K\w+[.]//mg if $kind eq 'sqlite';
    return $sql;
}

sub schemas {
    my @schemas = sort values %SCHEMA;
    return @schemas;
}

sub schema_kind { return $SCHEMA{(ref $_[0] || $_[0]) =~ s/.*:://r} }

# Has each statement of a new handle commit. A server may begin connections without that (init_connect of MariaDB and MySQL), of
# which DBI does not know, and a driver tells the server only what changes.
sub commit_each {
    my ($class, $dbh) = @_;
    $dbh->{AutoCommit} = $_ for 0, 1;
    return $dbh;
}

# Writes a row in the transaction of the handle, which is lent. Its texts are bytes of UTF-8. Returns false if the database has
# taken none.
sub insert {
    my ($class, $dbh, $table, $row) = @_;
    my (@values, @bound);
    my @columns = grep { defined $row->{$_} } @TEXTS;
    for my $column (@columns) {
        my ($value, @text) = $class->_value_of($column, $row->{$column});
        push @values, $value;
        push @bound,  @text;
    }
    my %other = map { $row->{$_} ? ($_ => 'TRUE') : () } qw(retain forget);
    $other{retry} = 0 + $row->{retry} if defined $row->{retry};
    for my $column (sort keys %other) {
        push @columns, $column;
        push @values,  $other{$column};
    }
    my $insert = "INSERT INTO $table (" . join(', ', @columns) . ') VALUES (' . join(', ', @values) . ')';
    my $count  = $dbh->do($insert, undef, @bound);
    return $count && $count != 0;
}

# Calls code while a handle of the application has our attributes. Its HandleError may throw an exception of its own, but
# not swallow ours.
sub lend {
    my ($class, $dbh, $code) = @_;
    my %ours   = (%ATTRIBUTES, $class->attributes($dbh));
    my $theirs = $dbh->{HandleError};
    $ours{HandleError} = sub { &$theirs; return !!0 }
        if $theirs;
    local @$dbh{keys %ours} = values %ours;
    return $code->();
}

# Calls code that reads. A handle that does not commit each statement begins a transaction with the first one. If it stayed
# open, others would wait for its locks, or the next answer would be as old as this one. A transaction of the application
# stays.
sub read_apart {
    my ($class, $dbh, $code) = @_;
    return $code->() if $class->commits_each($dbh) || $dbh->{BegunWork} || $class->has_transaction($dbh);
    my ($is_done, $result, $error);
    {
        local ($@, $SIG{__DIE__});
        $is_done = eval { $result = $code->(); 1 };
        $error   = $@;
        eval { $class->end_transaction($dbh) };
    }
    return $is_done ? $result : die $error;
}

# The remedy if the last statement of the handle has failed because the table is not there; otherwise the empty string. Messages
# are in the language of the database.
sub remedy {
    my ($class, $dbh, $table) = @_;
    return '' if ($dbh->state // '') !~ /\A(?:3F000|42P01|42S02)\z/ && ($dbh->errstr // '') !~ /no such table/;
    my $make = 'eventsource outbox --schema ' . $class->schema_kind . ($table eq $TABLE ? '' : " --table $table");
    return qq{: are the tables there? "$make" prints the SQL that makes them};
}

# Methods of a follower and of commands, which die with what DBI says

# Notes that rows are published: deletes them, unless they are kept. Returns how many it has changed.
sub acknowledge {
    my ($self, @rows) = @_;
    my $change = $self->deletion;
    $change = 'UPDATE ' . $self->by_id . " SET state = $PUBLISHED, problem = NULL, finished = " . $self->timestamp
        if $self->{keep};
    return 0 + $self->{dbh}->do("$change WHERE " . $self->_are(@rows));
}

# Acquires the lease if nobody has it, or renews it. Returns whether it is held. A follower whose clock is wrong does no harm:
# the clock is the database's. If that is set back, the lease of one that is gone is not waited for.
sub acquire_lease {
    my ($self, @lease) = @_;
    return $self->_take_lease(@lease) || $self->_restore_lease && $self->_take_lease(@lease);
}

# Takes a handle, which is the follower's own, but for the attributes that an application gives all its handles. A statement may
# take so many seconds. Returns what an operator should know of it, undef if there is nothing.
sub attach {
    my ($self, $dbh, $seconds) = @_;
    my %ours = (%ATTRIBUTES, $self->attributes($dbh), ShowErrorStatement => 0);    # a statement has the texts of rows
    $dbh->{$_} = $ours{$_} for keys %ours;
    $self->commit_each($dbh);
    $self->{dbh} = $dbh;
    $self->bound_statements($seconds || 4);
    $self->prepare_handle;
    my $version = $self->_version;
    my $caution = $self->check_policies;
    $self->_restore_lease if !defined $version;
    my $problem = $self->problem_of_version;
    die "$problem\n" if defined $problem;
    return $caution;
}

# Dies if policies hide rows from this user. Returns a text if they may do so.
sub check_policies {
    my $self = shift;
    my ($verdict, $clause, $remedy) = $self->trouble_of_policies or return undef;
    my $text = "the table $clause: $remedy";
    return $verdict eq 'wrong' ? die "$text\n" : $text;
}

sub detach {
    my $self = shift;
    my $dbh  = delete $self->{dbh} or return;
    local ($@, $SIG{__DIE__});
    eval { $dbh->disconnect };
    return;
}

sub count_dead {
    my $self = shift;
    return 0 + $self->{dbh}->selectrow_array("SELECT count(*) FROM $self->{table} WHERE state = $DEAD");
}

# The counts of the rows, and the follower.
sub counts {
    my $self = shift;
    my ($now,     $created) = ($self->now, 'min(' . $self->seconds_of('created') . ')');
    my ($waiting, $age)     = $self->{dbh}
        ->selectrow_array("SELECT count(*), coalesce($now - $created, 0) FROM $self->{table} WHERE state = $WAITS");
    my ($holder, $seconds) =
        $self->{dbh}
        ->selectrow_array("SELECT substr(holder, 1, 200), held_until - $now FROM $self->{table}_follower WHERE id = 1");
    return {
        dead_letters => $self->count_dead,
        follower     => defined $seconds && $seconds > 0 ? $holder : undef,
        oldest_age   => $age < 0                         ? 0       : 0 + $age,
        waiting      => 0 + $waiting,
    };
}

# Dead letters, so many whose numbers are greater than one, if that is given. SQLite has numbers below 1, too.
sub dead_letters {
    my ($self, $id, $count) = @_;
    my $later = defined $id ? " AND id > $id" : '';
    return $self->rows("state = $DEAD$later ORDER BY id LIMIT $count", [], [qw(channel event_key problem)]);
}

# Deletes those of the rows with the numbers that are dead letters. Returns how many.
sub drop {
    my ($self, @ids) = @_;
    return 0 + $self->{dbh}->do("DELETE FROM $self->{table} WHERE state = $DEAD AND id IN (" . join(', ', @ids) . ')');
}

# Deletes rows that were published longer ago than so many seconds, some at a time. Returns how many.
sub expire {
    my ($self, $seconds) = @_;
    my ($dbh, $table)    = @$self{qw(dbh table)};
    my $ago = $self->ago('?');
    my $old = "SELECT id FROM $table WHERE state = $PUBLISHED AND finished < $ago ORDER BY finished LIMIT 1000";
    my @ids = @{$dbh->selectcol_arrayref($old, undef, $seconds)} or return 0;
    return $dbh->do("DELETE FROM $table WHERE id IN (" . join(', ', @ids) . ')');
}

# The numbers of the rows that wait and that another session has locked, without waiting for it. A row that may be written is
# locked for the time of the statement.
sub locked_of {
    my ($self, @rows) = @_;
    my %is_free = map { $_ => 1 } $self->lockable_of(@rows);
    return grep { !$is_free{$_} } $self->waiting_of(@rows);
}

# The numbers of those of the rows that wait.
sub waiting_of {
    my ($self, @rows) = @_;
    return
        @{$self->{dbh}
            ->selectcol_arrayref("SELECT id FROM $self->{table} WHERE state = $WAITS AND " . $self->_are(@rows))};
}

# Makes a row a dead letter, unless another follower has published it meanwhile, or somebody has shortened it.
sub mark_dead {
    my ($self, $row, $problem) = @_;
    my $text = substr $problem, 0, $MAX_PROBLEM;
    $text =~ tr/\0/ /;
    utf8::encode($text);
    my ($value, @bound) = $self->_value_of(problem => $text);
    my $is_it = $self->_are($row) . ($row->{too_long} ? ' AND (' . $self->_is_too_long . ')' : '');
    return $self->{dbh}
        ->do("UPDATE $self->{table} SET state = $DEAD, problem = $value WHERE state = $WAITS AND $is_it", undef,
        @bound);
}

# The problem of the table's version, undef if there is none. A row that was deleted has none: a follower inserts it again, with
# the version of the table.
sub problem_of_version {
    my $self    = shift;
    my $version = $self->_version;
    return undef if !defined $version || $version == $VERSION;
    return "the table $self->{table} has version $version, and this release needs $VERSION";
}

# The reasons why the database refuses to insert rows, and to follow, by these words; none if it does not. Arguments name the
# acts, otherwise all are tried. The statements change nothing: rights are checked before rows are sought.
sub refusals {
    my ($self, @acts) = @_;
    my $table = $self->{table};
    my $row   = "SELECT 'x' AS channel, 'x' AS data";
    my $none  = 'id = 0 AND state = -1';                # a key: MariaDB and MySQL may insist on one (sql_safe_updates)
    my %needs = (
        insert => ["INSERT INTO $table (channel, data) SELECT channel, data FROM ($row) AS one WHERE 1 = 0"],
        follow => [
            "UPDATE $table SET state = state WHERE $none",
            "DELETE FROM $table WHERE $none",
            "UPDATE ${table}_follower SET holder = holder WHERE id = 0",
            "SELECT count(*) FROM $table WHERE $none",
        ],
    );
    local ($@, $SIG{__DIE__});
    my %refused;
    for my $what (@acts ? @acts : keys %needs) {
        $refused{$what} = eval { $self->{dbh}->do($_) for @{$needs{$what}}; 1 } ? undef : $@;
    }
    return %refused;
}

sub release_lease {
    my ($self, $holder) = @_;
    $self->{dbh}->do("UPDATE $self->{table}_follower SET held_until = 0 WHERE id = 1 AND holder = ?", undef, $holder);
    return;
}

# Dead letters wait again: all, or those with the ids, which are digits. Returns how many.
sub retry {
    my ($self, @ids) = @_;
    my $these = @ids ? ' AND id IN (' . join(', ', @ids) . ')' : '';
    return 0 + $self->{dbh}->do("UPDATE $self->{table} SET state = $WAITS, problem = NULL WHERE state = $DEAD$these");
}

# The rows that wait, in their order, each a hash, without some rows, and without the groups of others. A batch has at most so
# many rows and bytes, but for the first row. A row whose texts are none has the reason in unreadable. One that no hub takes has
# too_long, too, and lacks its texts, perhaps also what says which row it is.
sub waiting {
    my ($self, $rows, $of_groups, $others) = @_;
    my $where = $self->waits($of_groups, $others);
    my $most  = $self->{most} || $FEW_ROWS;
    my ($total, $first, @ids) = 0;
    $self->{most} = min($rows, 2 * $most);
    for my $row ($self->rows("$where ORDER BY id LIMIT " . min($rows, $most), ['size'], [])) {
        $total += $row->{size};
        if (@ids && $total > $MAX_BATCH_BYTES) { $self->{most} = $FEW_ROWS; last }
        $first //= $row->{size};
        push @ids, $row->{id};
    }
    return @ids ? $self->waiting_with($first, @ids) : ();
}

# The condition for the numbers of waiting.
sub waits {
    my ($self, $of_groups, $others) = @_;
    my @not = (@{$others || []} ? $self->_are(@$others) : (), map { $self->_is_of_group($_) } @{$of_groups || []});
    return join ' AND NOT ', "state = $WAITS", map { "($_)" } @not;
}

# The rows with the numbers, as waiting returns them. The first one has so many bytes. If no hub takes it, it is the only one.
sub waiting_with {
    my ($self, $size, @ids) = @_;
    my $these = join ', ', @ids;
    my @names = grep { $_ ne 'problem' } @NAMES;
    my @asked = $size > $MAX_ROW_BYTES ? ([], \@names) : ([qw(size retry retain forget)], ['token', @TEXTS]);
    my @rows  = $self->rows("state = $WAITS AND id IN ($these) ORDER BY id", @asked);
    for my $row (@rows) {
        $row->{size} //= $size;
        my ($long) = grep { length($row->{$_} // '') > $MAX_NAME_BYTES } @names;
        my $clause =
              $row->{size} > $MAX_ROW_BYTES ? 'its texts have more than 33 MiB together, and a hub takes 16 MiB at most'
            : defined $long                 ? "$long has more than $MAX_NAME_BYTES bytes"
            :                                 next;
        @$row{qw(unreadable too_long)} = ("$clause: shorten it, or delete the row", 1);
        delete $row->{token} if length($row->{token} // '') > $MAX_NAME_BYTES;
    }
    return @rows;
}

# Methods that a subclass may have, too

# Attributes of a handle's driver, beside those of DBI.
sub attributes { return () }

sub bytes_of { return $_[1] }

# The first bytes of a text, at least so many; or its first characters.
sub beginning_of { return $_[0]->bytes_of("substr($_[1], 1, $_[2])") }

# Whether the handle commits each statement, and whether it has a transaction.
sub commits_each { return $_[1]{AutoCommit} }

sub has_transaction { return !!1 }

sub end_transaction { return $_[1]->rollback }

# The table of an UPDATE that finds rows by their numbers, and the beginning of such a DELETE.
sub by_id { return $_[0]{table} }

sub deletion { return "DELETE FROM $_[0]{table}" }

# A sentence for a report about a defect of the database.
sub caution { return undef }

# The descriptor that is readable when the database has notified of a commit.
sub descriptor { return undef }

# Bytes that were read, as they are compared with bytes_of.
sub literal_of { return "X'" . unpack('H*', $_[1]) . "'" }

# The numbers of the rows that no other session has locked.
sub lockable_of {
    my ($self, @rows) = @_;
    return @{$self->{dbh}->selectcol_arrayref($self->lock_of(@rows) . ' SKIP LOCKED')};
}

# The statement that locks rows.
sub lock_of {
    my ($self, @rows) = @_;
    return "SELECT id FROM $self->{table} WHERE " . $self->_are(@rows) . ' FOR UPDATE';
}

# A column with a number or a truth.
sub number_of { return $_[1] }

# True if the last statement has failed because of what a row has.
sub is_of_row { return !!0 }

# Rows as hashes, with their numbers, other columns (size is that of the texts together), and texts as bytes of UTF-8. A row
# with more texts than a message may have has those that say which one it is. If a row fails the statement, each is read alone.
sub rows {
    my ($self, $where, @columns) = @_;
    my @rows;
    local ($@, $SIG{__DIE__});
    return @rows if eval { @rows = $self->select_rows($where, @columns); 1 };
    die $@       if !$self->is_of_row;
    return map { $self->_lone_row($_->{id}, @columns) } $self->select_rows($where, [], []);
}

sub select_rows {
    my ($self, $where, $columns, $texts) = @_;
    my $size    = $self->_size;
    my @columns = map { ($_ eq 'size' ? "($size)" : $self->number_of($_)) . " AS $_" } @$columns;
    my @texts   = map {
        (
              $IS_NAME{$_}
            ? $self->beginning_of($_, $MAX_NAME_BYTES + 1)
            : "CASE WHEN $size <= $MAX_ROW_BYTES THEN " . $self->bytes_of($_) . ' END'
            )
            . " AS $_"
    } @$texts;
    my $select = 'SELECT ' . join(', ', 'id', @columns, @texts) . " FROM $self->{table} WHERE $where";
    return @{$self->{dbh}->selectall_arrayref($select, {Slice => {}})};
}

# Returns true if the database has notified of a commit since may_have_changed was called.
sub is_notified { return !!0 }

# Returns false if nothing can have been written since the last call.
sub may_have_changed { return !!1 }

sub needs_hint { return !!1 }

# The trouble that a user who follows has with policies for rows: a verdict, a clause and a remedy. Rights on the table do not
# show it, because a row that a policy hides is no error.
sub trouble_of_policies { return }

# The troubles of such a user for a report, as judged of EventSource::XS::Doctor::Finding takes them.
sub troubles { return }

# Private methods

# The condition that a row is one of these. After a failover to a copy that lacks the last commits, or when the table was
# emptied, a database gives numbers again: by its number alone a follower would delete a row that it has never read. A token is
# what SQL has written, also with a NUL or, in SQLite, as a blob, so its bytes are compared. One that is too long is not read.
sub _are {
    my ($self, @rows) = @_;
    my @known      = grep { defined $_->{token} } @rows;
    my @others     = grep { !defined $_->{token} } @rows;
    my $tokens     = join ', ', map { $self->literal_of($_->{token}) } @known;
    my @conditions = (
        @known  ? _numbers(@known) . ' AND ' . $self->bytes_of('token') . " IN ($tokens)" : (),
        @others ? _numbers(@others)                                                       : ()
    );
    return '(' . join(' OR ', @conditions) . ')';
}

# The bytes of all texts.
sub _size {
    my $self = shift;
    return join ' + ', map { 'coalesce(' . $self->size_of($_) . ', 0)' } 'token', @TEXTS;
}

# The condition that waiting finds a row too long.
sub _is_too_long {
    my $self  = shift;
    my @sizes = map { $self->size_of($self->beginning_of($_, $MAX_NAME_BYTES + 1)) } grep { $_ ne 'problem' } @NAMES;
    return join ' OR ', $self->_size . " > $MAX_ROW_BYTES", map { "$_ > $MAX_NAME_BYTES" } @sizes;
}

sub _numbers {
    return 'id IN (' . join(', ', map { 0 + $_->{id} } @_) . ')';
}

# The condition that a row is of the group of another one (group_of of EventSource::XS::Outbox::Row).
sub _is_of_group {
    my ($self, $row) = @_;
    return join ' AND ', map { $self->_has_text($_, $row->{$_}) } qw(channel event_key);
}

# The condition that a column has a text. Without one its size is asked for, because a session may take an empty text for NULL
# (EMPTY_STRING_IS_NULL of MariaDB).
sub _has_text {
    my ($self, $column, $text) = @_;
    return 'coalesce(' . $self->size_of($column) . ', 0) = 0' if !defined $text || !length $text;
    return "$column IS NOT NULL AND " . $self->bytes_of($column) . ' = ' . $self->literal_of($text);
}

# A text, bytes of UTF-8, as a value of SQL, and what is bound to it.
sub _value_of {
    my ($class, $column, $text) = @_;
    return $text =~ /[^\x01-\x7E]/ ? $class->text_of_hex(unpack('H*', $text), $column) : ('?', $text);
}

# The row with a number, if it is still there.
sub _lone_row {
    my ($self, $id, $columns, $texts) = @_;
    my $where = "id = $id";
    my @row;
    local ($@, $SIG{__DIE__});
    return @row if eval { @row = $self->select_rows($where, $columns, $texts); 1 };
    die $@      if !$self->is_of_row;
    my @bad = grep {
        my $text = $_;
        !eval { $self->select_rows($where, [], [$text]); 1 }
    } @$texts;
    return $self->row_without($where, $columns, $texts, @bad);
}

# Inserts the row of the lease if somebody has deleted it. Returns false if it is there. Its columns have defaults. A follower
# needs no right to insert, so it says what is to be done.
sub _restore_lease {
    my $self  = shift;
    my $table = "$self->{table}_follower";
    return !!0 if $self->_has_lease_row;
    my $insert = "INSERT INTO $table (id) VALUES (1)";
    local ($@, $SIG{__DIE__});
    return !!1 if eval { $self->{dbh}->do($insert); 1 };
    my $reason = EventSource::XS::Reason->of($@);
    return !!1 if $self->_has_lease_row;    # another follower has inserted it
    die "the row of $table was deleted, and cannot be inserted ($reason): have its owner run $insert\n";
}

sub _has_lease_row {
    my $self = shift;
    return $self->{dbh}->selectrow_array("SELECT count(*) FROM $self->{table}_follower WHERE id = 1");
}

sub _take_lease {
    my ($self, $holder, $seconds) = @_;
    my $now   = $self->now;
    my $count = $self->{dbh}->do(
        "UPDATE $self->{table}_follower SET holder = ?, held_until = $now + ?, lease = ?"
            . " WHERE id = 1 AND (holder = ? OR held_until < $now OR held_until > $now + 2 * lease)",
        undef, $holder, $seconds, $seconds, $holder
    );
    return $count > 0;
}

# The version of the table.
sub _version {
    my $self = shift;
    my $version;
    local ($@, $SIG{__DIE__});
    return $version if eval {
        ($version) = $self->{dbh}->selectrow_array("SELECT version FROM $self->{table}_follower WHERE id = 1");
        1;
    };
    my $remedy = $self->remedy(@$self{qw(dbh table)});
    die EventSource::XS::Reason->of($@) . "$remedy\n";
}

1;
