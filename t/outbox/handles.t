# The reads and writes of a producer and a follower in each database, whatever attributes an application gives all its handles.

use lib 't/lib';
use Testing;
use EventSource::Hub;
use EventSource::Outbox;
use EventSource::XS::Doctor;
use EventSource::XS::Outbox::Row;
use Testing::Checks qw(check run_checks);
use Testing::CommandLine;
use Testing::Database;
use Testing::Errors qw(error_ok error_of);
use Testing::Outbox;
use Testing::SourceTree qw(slurp);

my $TEXT   = "gr\xFC\xDFe \x{20AC} \x{1F600}";
my $LATIN  = "caf\xE9";
my $HUB    = EventSource::Hub->new(name => 'handles', socket => '/nowhere/handles.sock');
my $outbox = EventSource::Outbox->new(hub => $HUB);

my %ATTRIBUTES = (
    Pg      => [{pg_bool_tf                 => 1}, {pg_enable_utf8 => 1}, {pg_placeholder_dollaronly => 1}],
    MariaDB => [{mariadb_bind_type_guessing => 1}],
    mysql   => [{mysql_bind_type_guessing => 1}, {mysql_server_prepare => 1}],
    SQLite  => [{sqlite_unicode => 0}, {sqlite_unicode => 1}, {sqlite_see_if_its_a_number => 1}],
);
my @OF_ALL = (
    {},
    {ChopBlanks   => 1, FetchHashKeyName => 'NAME_uc', HandleError => sub { 1 }, PrintWarn => 1},
    {HandleSetErr => sub { $_[1] = 0; 0 }, RaiseError => 0},
);
my $NUMBER = '007 ';

# The table as a follower has it.
sub table_of {
    my ($handle, %option) = @_;
    my $table = EventSource::XS::Outbox::Database->class_for($handle)->new(table => 'eventsource_outbox', %option);
    $table->attach($handle, $DEADLINE);
    return $table;
}

# The channel and the fields of each row.
sub publications {
    return map {
        my ($channel, $event) = EventSource::XS::Outbox::Row->publication_of($_);
        delete $event->{once};
        [$channel, $event];
    } @_;
}

sub attributes_ok {
    my ($database, %attribute) = @_;
    my $producer = $database->connect;
    my $writer   = $database->connect(%attribute);
    my @names    = grep { $_ ne q{sqlite_unicode} } keys %attribute;    # reading that one warns
    my %given    = map  { $_ => $writer->{$_} } @names;
    errors_ok($writer);
    $outbox->publish($writer, $TEXT   => {data => $TEXT,  key => $LATIN, retain => 1});
    $outbox->publish($writer, news    => {data => $LATIN, key => '', retry => '0100'});
    $outbox->publish($writer, news    => {data => [], retry => 0});
    $outbox->publish($writer, news    => "\x{D800} \x{110000}");
    $outbox->publish($writer, $NUMBER => {data => $NUMBER, key => $NUMBER, event => $NUMBER});
    is_deeply {
        map { $_ => $writer->{$_} } @names
    }, \%given, 'the attributes are as before';
    my $table = table_of($database->connect(%attribute), keep => 1);
    my @rows  = $table->waiting(10);
    is_deeply [publications(@rows)],
        [
        [$TEXT, {data => $TEXT, key => $LATIN, retain => 1}],
        [news    => {data  => $LATIN, retry => 100}],
        [news    => {retry => 0}],
        [news    => {data  => "\x{FFFD} \x{FFFD}"}],
        [$NUMBER => {data  => $NUMBER, key => $NUMBER, event => $NUMBER}],
        ],
        'rows are read as they were published';
    is_deeply [map { EventSource::XS::Outbox::Row->group_of($_) } @rows[1, 2]], [qw(news news)],
        'the empty key is none';
    ok $table->acquire_lease('holder', 2.5), 'a lease may have fractions of seconds';
    is_deeply [map { $_->{id} } $table->waiting(10, [$rows[0]])], [map { $_->{id} } @rows[1 .. 4]],
        'a group can be left out: a key';
    is_deeply [map { $_->{id} } $table->waiting(10, [@rows[1, 2]])], [map { $_->{id} } @rows[0, 4]],
        'a channel without a key';
    is_deeply [$table->waiting(10, \@rows)], [], 'all';
    is_deeply [map { $_->{id} } $table->waiting(10, [], [@rows[1, 3]])], [map { $_->{id} } @rows[0, 2, 4]],
        'so can rows, without their groups';
    my $problem = "what is wrong with $TEXT";
    $table->mark_dead($rows[0], $problem);
    is $producer->selectrow_array('SELECT problem FROM eventsource_outbox WHERE state = 2'), $problem,
        'a reason has any text';
    $table->mark_dead($rows[1], "$LATIN\0" x 20_000);
    is length $producer->selectrow_array("SELECT problem FROM eventsource_outbox WHERE id = $rows[1]{id}"), 1000,
        'a reason has a bound';
    $table->acknowledge({%{$rows[2]}, token => $rows[1]{token}});
    is scalar(() = $table->waiting(10)), 3, 'a row with the number of another one is left alone';
    $table->acknowledge($rows[2]);
    $table->mark_dead($rows[2], 'late');
    is $table->retry($rows[2]{id}), 0, 'a row that is published is no dead letter, and waits no more';
    is $table->retry,               2, 'dead letters wait again';
    $producer->do('DELETE FROM eventsource_outbox');
    return;
}

# How far the log of InnoDB is written, and how far it is on the disk.
sub log_of {
    my %status = map { @$_ } @{$_[0]->selectall_arrayref(q{SHOW GLOBAL STATUS LIKE 'Innodb_lsn%'})};
    return @status{qw(Innodb_lsn_current Innodb_lsn_flushed)};
}

# An error of the database is an exception, whatever the handle makes of errors.
sub errors_ok {
    my $handle = shift;
    my $other  = EventSource::Outbox->new(hub => $HUB, table => 'no_such_table');
    my $remedy = qr/are the tables there\? "eventsource outbox --schema [a-z]+ --table no_such_table" prints the SQL/;
    for my $method (qw(publish retry stats)) {
        my $error = error_of(sub { $other->$method($handle, $method eq 'publish' ? (c => 'x') : ()) });
        my $place = "at $0 line " . (__LINE__ - 1);
        like $error, qr/no_such_table.*: $remedy.* \Q$place\E[.]\n\z/s,
            "$method throws what the database refuses, with the remedy, at the caller's line";
    }
    return;
}

# A number that no number of some perls is.
check 'a large number' => sub {
    my $dbh    = shift->connect;
    my $number = '1152921504606846977';
    my $kind   = $dbh->{Driver}{Name} eq 'Pg' ? 'OVERRIDING SYSTEM VALUE' : '';
    $dbh->do("INSERT INTO eventsource_outbox (id, channel, data, state) $kind VALUES ($number, 'c', 'x', 2)");
    is $outbox->retry($dbh, $number), 1, 'a row with a large number waits again';
    $dbh->do('DELETE FROM eventsource_outbox');
    error_ok($_ // 'undef', 'invalid', 'id', sub { $outbox->retry($dbh, $_) }) for undef, "1\n";
};

# A lease is as long as its holder says. Where the database notifies, whoever does not read rows is not notified: a driver keeps
# each notification until it is taken.
check 'leases' => sub {
    my $database = shift;
    my ($long, $short) = map { table_of($database->connect) } 1 .. 2;
    my $listens = sub {
        my $table = shift;
        return $table->{dbh}->selectrow_array('SELECT count(*) FROM pg_listening_channels()');
    };
    $long->{dbh}->do('UPDATE eventsource_outbox_follower SET held_until = 0');
    ok $long->acquire_lease('long', 60),   'a follower has a lease';
    ok !$short->acquire_lease('short', 1), 'one with a shorter lease does not take it';
    is_deeply [map { $listens->($_) } $long, $short], [1, 0], 'only the first one is notified'
        if $database->driver eq 'Pg';
    $long->release_lease('long');
    ok $short->acquire_lease('short', 1), 'it does when it is given up';
    ok !$long->acquire_lease('long', 60), 'then the first one has none';
    is_deeply [map { $listens->($_) } $long, $short], [0, 1], 'and is not notified' if $database->driver eq 'Pg';
    $short->{dbh}->do('UPDATE eventsource_outbox_follower SET held_until = held_until + 10');
    ok $long->acquire_lease('long', 60), 'nor does it wait for a lease from before the clock was set back';
    $long->release_lease('long');
};

# Rows that are kept are not read: each database says which index it takes.
my %PLAN = (
    MariaDB => [
        'EXPLAIN',
        sub {
            !grep { $_->{rows} > 100 } @_;
        }
    ],
    PostgreSQL => [
        'EXPLAIN',
        sub {
            !grep { $_->{'query plan'} =~ /Seq Scan/ } @_;
        }
    ],
    SQLite => [
        'EXPLAIN QUERY PLAN',
        sub {
            !grep { $_->{detail} !~ /USING (?:COVERING )?INDEX/ } @_;
        }
    ],
);

check 'plans of queries' => sub {
    my $database = shift;
    my $kind     = $database->name;
    my $dbh      = $database->connect;
    my $table    = table_of($dbh, keep => 3600);
    my $row      = "('news', 'x', 1, " . $table->timestamp . ')';
    $dbh->do('INSERT INTO eventsource_outbox (channel, data, state, finished) VALUES ' . join ', ', ($row) x 2_000);
    $dbh->do($kind eq 'MariaDB' ? 'ANALYZE TABLE eventsource_outbox' : 'ANALYZE');
    my @asked;
    my $note = sub { push @asked, [@_[1, 3 .. $#_]] if $_[1] =~ /WHERE state/; return };
    {
        local $dbh->{Callbacks} = {selectcol_arrayref => $note, selectrow_array => $note};
        is $table->expire(3600),      0, 'no row is old';
        is $table->counts->{waiting}, 0, 'none waits';
    }
    my ($explain, $is_good) = @{$PLAN{$kind}};
    is scalar @asked, 3, 'three questions for rows';
    for (@asked) {
        my ($sql, @bound) = @$_;
        my $plan = $dbh->selectall_arrayref("$explain $sql", {Slice => {}}, @bound);
        ok $is_good->(@$plan), "an index answers: $sql" or diag explain($plan);
    }
    $dbh->do('UPDATE eventsource_outbox SET finished = ' . $table->ago(3601) . ' WHERE id % 2 = 0');
    is $table->expire(3600), 1000, 'old rows go, at most 1000 at once';
    is $table->expire(3600), 0,    'and no others';
    $dbh->do('DELETE FROM eventsource_outbox');
};

# A follower needs no right to insert: without it, it says what is to be done.
check 'a lost lease', users => sub {
    my $database = shift;
    my $dbh      = $database->connect;
    $dbh->do('DELETE FROM eventsource_outbox_follower');
    $database->create_user(follower => map { "SELECT, UPDATE, DELETE ON $_" }
            qw(eventsource_outbox eventsource_outbox_follower));
    my $insert = qr/INSERT INTO eventsource_outbox_follower \(id\) VALUES \(1\)/;
    like error_of(sub { table_of($database->connect_as('follower')) }),
        qr/eventsource_outbox_follower was deleted, and cannot be inserted \(.*(?:denied|nicht erlaubt f\xFCr).*\): have its owner run $insert/,
        'the row of the lease is deleted';
    $dbh->do('INSERT INTO eventsource_outbox_follower (id) VALUES (1)');
    ok table_of($database->connect_as('follower'))->acquire_lease('holder', 1), 'and inserted by hand';
};

# In the zone of the server an hour comes twice on that day.
check 'an hour that comes twice', MariaDB => sub {
    my $producer = shift->connect;
    my $begin    = 1_792_890_000 - 1800;    # 2026-10-25, 02:30 the first time
    for my $at ($begin, $begin + 3600) {
        $producer->do("SET timestamp = $at");
        $outbox->publish($producer, c => 'x');
        EventSource::XS::Outbox::Database->class_for($producer)->new(table => 'eventsource_outbox', dbh => $producer)
            ->acquire_lease('holder', 10);
        $producer->do('SET timestamp = ' . ($at + 5));
        my $stats = $outbox->stats($producer);
        is_deeply [@$stats{qw(oldest_age follower)}], [5, 'holder'],
            'ages and the lease are those of a clock without zones';
        $producer->do('DELETE FROM eventsource_outbox');
    }
};

# Rows of a commit that is visible, and not on the disk.
check 'a commit that is not on the disk', MariaDB => sub {
    my $dbh   = shift->connect;
    my $table = table_of($dbh);
    $dbh->do('SET GLOBAL innodb_flush_log_at_trx_commit = 0');
    $outbox->publish($dbh, c => 'x');
    my ($written) = log_of($dbh);
    $dbh->do('SET GLOBAL innodb_flush_log_at_trx_commit = 1');    # the default
    is scalar(() = $table->waiting(10)), 1, 'a follower reads the row';
    cmp_ok + (log_of($dbh))[1], '>=', $written, 'when no crash undoes its commit';
    $dbh->do('DELETE FROM eventsource_outbox');
};

# A server reads a longer text as NULL, so the row would be published without that.
check 'a text that is longer than max_allowed_packet', MariaDB => sub {
    my $database = shift;
    my $dbh      = $database->connect;
    my ($bytes)  = $dbh->selectrow_array('SELECT @@max_allowed_packet');
    $outbox->publish($dbh, c => {event => 'e', data => 'x' x 2_000_000});
    $outbox->publish($dbh, c => {event => 'e'});
    $dbh->do('SET GLOBAL max_allowed_packet = 1048576');
    for my $driver (qw(MariaDB mysql)) {
        $database->use_driver($driver);
        my ($long, $other) = table_of($database->connect)->waiting(10);
        like error_of(sub { publications($long) }), qr/^data is longer than max_allowed_packet/,
            "$driver: the row says so";
        is_deeply [publications($other)], [[c => {event => 'e'}]], 'and another row has no data';
    }
    $dbh->do("SET GLOBAL max_allowed_packet = $bytes");
    $dbh->do('DELETE FROM eventsource_outbox');
};

# The column event has no bound in these databases.
for my $case ([PostgreSQL => q{repeat('e', 36000000)}], [SQLite => q{replace(hex(zeroblob(18000000)), '0', 'e')}]) {
    my ($name, $long) = @$case;
    check 'rows that are longer than any event', $name => sub {
        my $dbh   = shift->connect;
        my $table = table_of($dbh);
        $outbox->publish($dbh, c => {event => 'e', data => $_, key => 'k'}) for 1 .. 3;
        $dbh->do("UPDATE eventsource_outbox SET event = $long WHERE data IN ('1', '2')");
        for my $number (1, 2) {
            my ($row, @more) = $table->waiting(10);
            like error_of(sub { publications($row) }),
                qr/^its texts have more than 33 MiB together.*: shorten it, or delete the row/,
                "row $number says so";
            is_deeply [@$row{qw(channel event_key event data)}, @more], ['c', 'k', undef, undef],
                'it is read alone, and without its texts';
            is $table->mark_dead($row, 'too long'), 1, 'it becomes a dead letter';
        }
        is_deeply [publications($table->waiting(10))], [[c => {event => 'e', data => 3, key => 'k'}]],
            'the row behind them is read';
        is scalar(() = $table->dead_letters(undef, 10)), 2, 'both are listed';
        is $table->retry,                                2, 'and can wait again';
        $dbh->do('DELETE FROM eventsource_outbox');
    };
}

# The bytes that this process has read.
sub bytes_read { return slurp('/proc/self/io') =~ /^rchar: ([0-9]+)/m ? $1 : die }

# SQLite reads a text to know its size.
check 'a batch of large rows', SQLite => sub {
    my $dbh   = shift->connect;
    my $table = table_of($dbh);
    $outbox->publish($dbh, c => $_) for 1 .. 20;
    my @counts = map { scalar(() = $table->waiting(256)) } 1, 2;
    is_deeply \@counts, [16, 20], 'more small rows are read after some were read';
    $dbh->do("INSERT INTO eventsource_outbox (channel, data) VALUES ('c', zeroblob(500000))") for 1 .. 100;
    $table->waiting(256);
    my $before = bytes_read();
    cmp_ok scalar(() = $table->waiting(256)), '>', 10,         'a batch of rows with 50 MB together';
    cmp_ok bytes_read() - $before,            '<', 30_000_000, 'not all of them are read';
    $dbh->do('DELETE FROM eventsource_outbox');
};

# A key that no table with its checks takes: such a text in each database, and how it takes that.
my %LONG_KEY = (
    MariaDB    => [q{REPEAT('k', 60000)}, 'SET SESSION check_constraint_checks = 0'],
    PostgreSQL => [
        q{repeat('k', 5000000)},
        'ALTER TABLE eventsource_outbox DROP CONSTRAINT eventsource_outbox_event_key_check',
        'ALTER TABLE eventsource_outbox ADD CONSTRAINT eventsource_outbox_event_key_check CHECK (octet_length(event_key) <= 1024)'
    ],
    SQLite => [q{replace(hex(zeroblob(2500000)), '0', 'k')}, 'PRAGMA ignore_check_constraints = ON'],
);

check 'names that are longer than any' => sub {
    my $database = shift;
    my ($key, $before, @after) = @{$LONG_KEY{$database->name}};
    my $dbh   = $database->connect;
    my $table = table_of($dbh);
    $dbh->do($before);
    $dbh->do("INSERT INTO eventsource_outbox (channel, event_key, data) VALUES ('c', $key, '$_')") for 1, 2;
    my @rows = $table->waiting(10);
    is scalar @rows, 2, 'two rows';

    for my $row (@rows) {
        like error_of(sub { publications($row) }),
            qr/^event_key has more than 4096 bytes: shorten it, or delete the row/,
            'each says so';
        cmp_ok length $row->{event_key}, '<', 5000, 'its key is not read';
    }
    my @groups = map { EventSource::XS::Outbox::Row->group_of($_) } @rows;
    isnt $groups[0],                      $groups[1], 'their keys are not taken for one';
    is $table->mark_dead($_, 'too long'), 1,          'each becomes a dead letter' for @rows;
    is_deeply [grep { length $_->{event_key} > 5000 } $table->dead_letters(undef, 10)], [], 'nor is it read for a list';
    $dbh->do($_) for 'DELETE FROM eventsource_outbox', @after;
};

# SQLite takes any token, and reads a text as a whole, so a follower has a bound for that.
check 'tokens that are longer than any', SQLite => sub {
    my $database = shift;
    my $dbh      = $database->connect;
    my $table    = table_of($database->connect);
    $dbh->do('PRAGMA ignore_check_constraints = ON');
    for my $bytes (5_000_000, 70_000_000) {
        $dbh->do("INSERT INTO eventsource_outbox (token, channel, data) VALUES (zeroblob($bytes), 'c', 'x')");
        $outbox->publish($dbh, c => 'later');
        my ($row) = $table->waiting(10);
        like error_of(sub { publications($row) }), qr/: shorten it, or delete the row/, "$bytes bytes: the row says so";
        is $row->{token}, undef, 'the token is not read';
        is_deeply [map { $_->{data} } $table->waiting(10, [], [$row])], ['later'],    'also without the long one';
        is_deeply [$table->waiting_of($row)],                           [$row->{id}], 'which waits';
        my $error = error_of(sub { $table->mark_dead($row, 'too long') });
        like $error, $bytes < 60_000_000 ? qr/no exception/ : qr/string or blob too big/,
            'it is marked, unless it is very long';
        $dbh->do(q{UPDATE eventsource_outbox SET token = 'short', state = 0});
        is 0 + $table->mark_dead($row, 'too long'), 0, 'it is not marked when somebody has shortened it';
        $dbh->do('DELETE FROM eventsource_outbox');
    }
};

# SQLite reads a channel to compare it.
check 'a channel that is longer than any', SQLite => sub {
    my $database = shift;
    my $dbh      = $database->connect;
    my $table    = table_of($database->connect);
    $dbh->do('PRAGMA ignore_check_constraints = ON');
    $outbox->publish($dbh, held => 'x');
    $dbh->do(q{INSERT INTO eventsource_outbox (channel, data) VALUES (zeroblob(70000000), 'x')});
    $outbox->publish($dbh, c => 'later');
    my ($held) = $table->waiting(1);
    my ($long) = $table->waiting(10, [$held]);
    is_deeply [@$long{qw(id too_long)}], [$held->{id} + 1, 1], 'it is read beside a group that is left out';
    is_deeply [map { $_->{data} } $table->waiting(10, [$held], [$long])], ['later'], 'and can be left out, too';
    $dbh->do('DELETE FROM eventsource_outbox');
};

# The text of a column is read, not its bytes.
check 'columns in other character sets', MariaDB => sub {
    my $database = shift;
    my $dbh      = $database->connect;
    my $reset =
          'MODIFY data LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, MODIFY channel TEXT CHARACTER SET utf8mb4'
        . ' COLLATE utf8mb4_bin NOT NULL';
    for my $driver (qw(MariaDB mysql)) {
        $database->use_driver($driver);
        my $table = table_of($database->connect);
        for my $set (qw(latin1 latin2 ucs2)) {
            $dbh->do( "ALTER TABLE eventsource_outbox MODIFY data LONGTEXT CHARACTER SET $set,"
                    . " MODIFY channel TEXT CHARACTER SET $set NOT NULL");
            $outbox->publish($dbh, "gr\xFC\xDFe" => "sch\xF6n");
            my @rows = $table->waiting(10);
            is_deeply [publications(@rows)],         [["gr\xFC\xDFe", {data => "sch\xF6n"}]], "$driver: $set";
            is_deeply [$table->waiting(10, \@rows)], [], 'its group can be left out';
            $table->acknowledge(@rows);
        }
        $dbh->do('ALTER TABLE eventsource_outbox MODIFY data LONGBLOB, MODIFY channel BLOB NOT NULL');
        $dbh->do('SET SESSION check_constraint_checks = 0');
        $dbh->do(q{INSERT INTO eventsource_outbox (channel, data) VALUES ('c', X'636166C3A9'), ('c', X'636166E9')});
        my ($good, $bad) = $table->waiting(10);
        is_deeply [publications($good)], [[c => {data => $LATIN}]], 'a binary column has UTF-8';
        like error_of(sub { publications($bad) }), qr/^data is not UTF-8/, 'or the row says that it has not';
        $dbh->do('DELETE FROM eventsource_outbox');
        $dbh->do("ALTER TABLE eventsource_outbox $reset");
    }
};

# Settings of a server with which it refuses a statement that has no key.
check 'a session that insists on keys', MariaDB => sub {
    my $dbh   = shift->connect;
    my $table = table_of($dbh, keep => 1);
    $dbh->do('SET SESSION sql_safe_updates = 1');
    my %refused = $table->refusals;
    is_deeply \%refused, {follow => undef, insert => undef}, 'a follower finds that nothing is refused';
    $outbox->publish($dbh, c => $_) for 1, 2;
    my ($row, $other) = $table->waiting(10);
    is $table->acknowledge($row),         1, 'it acknowledges a row';
    is $table->mark_dead($other, 'some'), 1, 'and makes one a dead letter';
    $dbh->do('SET SESSION sql_safe_updates = 0');
    $dbh->do('DELETE FROM eventsource_outbox');
};

# A session that takes an empty text for NULL.
check 'a session without empty texts', MariaDB => sub {
    my $dbh   = shift->connect;
    my $table = table_of($dbh);
    $outbox->publish($dbh, c => {data => $_, key => $_}) for 'k', 'l';
    $outbox->publish($dbh, c => 'no key');
    $dbh->do(q{SET SESSION sql_mode = 'EMPTY_STRING_IS_NULL'});
    my @rows = $table->waiting(10);
    is_deeply [map { $_->{data} } $table->waiting(10, [$rows[0]])], ['l', 'no key'], 'a key can be left out';
    is_deeply [map { $_->{data} } $table->waiting(10, [$rows[2]])], ['k', 'l'],      'so can rows without one';
    $dbh->do('DELETE FROM eventsource_outbox');
};

# The number of a row of SQLite may be any.
check 'numbers below one', SQLite => sub {
    my $database = shift;
    my $dbh      = $database->connect;
    $dbh->do("INSERT INTO eventsource_outbox (id, channel, data, state) VALUES ($_, 'c', 'x', 2)") for -5, 0, 3;
    my $shell = Testing::CommandLine->new;
    my $run   = sub { $shell->run('outbox', '--hub', 'handles', '--dsn', $database->dsn, @_) };
    is_deeply [$run->('--list')->{out} =~ /^(-?[0-9]+)\t/mg], [-5, 0, 3], 'the command lists these dead letters, too';
    is $outbox->retry($dbh, -5, 3),        2,     'they wait again';
    is $run->('--drop', -5, 0, -3)->{out}, "1\n", 'the command drops none that waits';
    $dbh->do('UPDATE eventsource_outbox SET state = 2');
    is $run->('--retry', -5)->{out}, "1\n", 'lets one wait again';
    $dbh->do('UPDATE eventsource_outbox SET state = 2');
    is $run->('--drop', 3, -5)->{out}, "2\n", 'and drops others';
    like $run->('--poll', -5, '--stats')->{out}, qr/^waiting\t0$/m, 'the value of an option is no row';
    $dbh->do('DELETE FROM eventsource_outbox');
};

subtest 'leases that no follower can have' => sub {
    for my $lease (0.999, 86_401, 1e12) {
        error_ok(
            $lease,
            'invalid',
            'lease',
            sub {
                $outbox->run(connect => sub { die }, lease => $lease);
            }
        );
    }
};

# A statement that reads the whole of a small table waits for rows that are not its own.
check 'a lock on another row', MariaDB => sub {
    my $database = shift;
    my $producer = $database->connect;
    my $other    = $database->connect(AutoCommit => 0);
    for my $keep (0, 1) {
        $producer->begin_work;
        $outbox->publish($producer, c => $_) for 1 .. 300;
        $producer->commit;
        my $table = table_of($database->connect, keep => $keep, most => 257);
        my ($first, @rows) = $table->waiting(257);
        $other->selectrow_array("SELECT id FROM eventsource_outbox WHERE id = $first->{id} FOR UPDATE");
        is eval { $table->acknowledge(@rows) }, 256, "keep $keep: other rows are acknowledged" or diag $@;
        is_deeply [$table->locked_of($first, @rows)], [$first->{id}], "keep $keep: and the row is known as locked";
        $other->rollback;
        $producer->do('DELETE FROM eventsource_outbox');
    }
};

# DBI does not know that the server commits nothing by itself.
check 'a server whose connections begin without autocommit', MariaDB => sub {
    my $database = shift;
    my $dbh      = $database->connect;
    my $rights   = 'SELECT, UPDATE, DELETE ON';
    $database->create_user(operator => map { "$rights $_" } qw(eventsource_outbox eventsource_outbox_follower));
    $dbh->do(q{SET GLOBAL init_connect = 'SET autocommit = 0'});    # of users without the right to everything
    for my $driver (qw(MariaDB mysql)) {
        $database->use_driver($driver);
        $outbox->publish($dbh, c => $_) for 'x', 'y';
        $dbh->do('UPDATE eventsource_outbox_follower SET held_until = 0');
        my $table = table_of($database->connect_as('operator'));
        my $held  = 'SELECT count(*) FROM eventsource_outbox_follower WHERE holder = ? AND held_until > 0';
        ok $table->acquire_lease("$driver holder", 10), "$driver: a follower has the lease";
        is $dbh->selectrow_array($held, undef, "$driver holder"), 1, 'and others see it';
        my ($row, $other) = $table->waiting(10);
        $table->acknowledge($row);
        is_deeply $dbh->selectcol_arrayref('SELECT data FROM eventsource_outbox'), ['y'], 'what it publishes is gone';
        $table->mark_dead($other, 'refused');
        $outbox->publish($dbh, c => 'z');
        is scalar(() = $table->waiting(10)), 1, 'it reads what others commit';
        local $ENV{EVENTSOURCE_OUTBOX_PASSWORD} = 'operator';
        my @options = ('--dsn', $database->dsn, qw(--hub handles --user operator));
        my $shell   = Testing::CommandLine->new;
        is $shell->run('outbox', @options, '--retry')->{out}, "1\n", 'the command lets a row wait again';
        is_deeply $dbh->selectcol_arrayref('SELECT data FROM eventsource_outbox WHERE state = 0 ORDER BY id'),
            ['y', 'z'],
            'and others see it';
        $dbh->do('DELETE FROM eventsource_outbox');
    }
    $dbh->do(q{SET GLOBAL init_connect = ''});
};

# An application keeps a handle that does not commit by itself.
check 'counts over a handle without AutoCommit' => sub {
    my $database = shift;
    my $other    = $database->connect;
    for my $driver ($database->can('use_driver') ? qw(MariaDB mysql) : $database->driver) {
        $database->use_driver($driver) if $database->can('use_driver');
        my $kept = $database->connect(AutoCommit => 0, HandleError => sub { fail "an error: $_[0]" });
        $kept->sqlite_busy_timeout(100) if $driver eq 'SQLite';
        my $waiting = sub { $outbox->stats($kept)->{waiting} };
        is $waiting->(), 0, "$driver: no row waits";
        $outbox->publish($other, c => 'x');
        is $waiting->(), 1, 'a row that another handle has written';
        $outbox->publish($kept, c => $_) for 1, 2;
        is $waiting->(),                      3, 'rows of an open transaction';
        is $outbox->stats($other)->{waiting}, 1, 'which it does not commit';
        $kept->commit;
        is $outbox->stats($other)->{waiting}, 3, 'nor roll back';
        $kept->do('DELETE FROM eventsource_outbox');
        $kept->commit;
        $kept->disconnect;
    }
};

# A row that a policy hides is no error of SQL.
check 'policies for rows', PostgreSQL => sub {
    my $database = shift;
    my $dbh      = $database->connect;
    my @tables   = qw(eventsource_outbox eventsource_outbox_follower);
    $database->create_user(tenant => map { "SELECT, UPDATE, DELETE ON $_" } @tables);
    my $denied = error_of(sub { $outbox->publish($database->connect_as('tenant'), c => 'x') });
    like $denied,   qr/permission denied for table/, 'a user who may not insert: publish says so';
    unlike $denied, qr/are the tables there/,        'and does not doubt the table';
    my $doctor = bless {connect_database => sub { $database->connect_as('tenant') }, table => $tables[0]},
        'EventSource::XS::Doctor';
    my $verdict = sub { (EventSource::XS::Doctor::Check::Outbox->findings($doctor))[0]{verdict} };
    my $caution = sub {
        EventSource::XS::Outbox::Database->class_for($dbh)->new(table => $tables[0])
            ->attach($database->connect_as('tenant'));
    };
    my %refused    = (follower => $caution, stats => sub { $outbox->stats($database->connect_as('tenant')) });
    my $is_refused = sub {
        my ($table, $case) = @_;
        for my $name (sort keys %refused) {
            error_of($refused{$name});
            like $@, qr/the table hides rows of $table from the user tenant by row-level security: CREATE /,
                "$case: $name says so";
        }
        is $verdict->(), 'wrong', "$case: the doctor says so";
    };
    $dbh->do('UPDATE eventsource_outbox_follower SET held_until = 0');
    is $caution->(), undef, 'without row-level security there is nothing to say';
    my $running = table_of($database->connect_as('tenant'));
    ok $running->acquire_lease('holder', 10), 'a follower';
    $dbh->do("ALTER TABLE $tables[0] ENABLE ROW LEVEL SECURITY");
    like error_of(sub { $running->acquire_lease('holder', 10) }), qr/hides rows/,
        'row-level security begins: it says so';
    $running->release_lease('holder');
    $is_refused->($tables[0], 'no policy');
    $dbh->do("CREATE POLICY reads ON $tables[0] FOR SELECT USING (true)");
    $is_refused->($tables[0], 'a policy for reading');
    $dbh->do("CREATE POLICY others ON $tables[0] TO testing USING (true)");
    $is_refused->($tables[0], 'a policy for another user');
    $dbh->do("CREATE POLICY writes ON $tables[0] TO tenant WITH CHECK (true)");
    $is_refused->($tables[0], 'a policy without USING');
    $dbh->do("CREATE POLICY tenants ON $tables[0] USING (channel = current_setting('app.tenant', true))");
    like $caution->(), qr/^the table may hide rows of $tables[0] from the user tenant/,
        'a policy with a condition: a follower says so';
    is $verdict->(), 'warning', 'so does the doctor';
    $dbh->do("CREATE POLICY follower ON $tables[0] TO tenant USING (true)");
    is $caution->(), undef, 'a policy without a condition for this user is all right';
    my $boolean = $database->connect_as('tenant');
    $boolean->{pg_bool_tf} = 1;
    is error_of(sub { $outbox->stats($boolean) }), 'no exception', 'also for a handle of which booleans are t and f';
    $dbh->do("CREATE POLICY limit_all ON $tables[0] AS RESTRICTIVE USING (channel <> 'c')");
    like $caution->(), qr/may hide rows/, 'unless another one restricts it';
    $dbh->do("ALTER TABLE $tables[1] ENABLE ROW LEVEL SECURITY");
    $is_refused->($tables[1], 'the table of the lease');
    $dbh->do('ALTER ROLE tenant BYPASSRLS');
    is $caution->(), undef, 'a user for whom there are no policies';
    $dbh->do("ALTER TABLE $_ DISABLE ROW LEVEL SECURITY") for @tables;
};

# A server that follows another one answers, and takes nothing.
check 'a standby server', PostgreSQL => sub {
    my $database = shift;
    open my $file, '>', $database->file('data/standby.signal') or die $!;
    $database->restart;
    like error_of(sub { table_of($database->connect) }),
        qr/^this is a standby server: the DSN must lead to the primary/,
        'a standby server is named';
    my $doctor = bless {connect_database => sub { $database->connect }, table => 'eventsource_outbox'},
        'EventSource::XS::Doctor';
    my ($finding) = EventSource::XS::Doctor::Check::Outbox->findings($doctor);
    like $finding->{remedy}, qr/^The DSN must lead to the primary server/, 'the doctor says so, too';
};

# A file of SQLite that is moved over the one that is open, and one whose texts are not UTF-8.
check 'files', SQLite => sub {
    my $database = shift;
    my $table    = table_of($database->connect);
    ok $table->acquire_lease('holder', 10), 'the file is that of before';
    my $new = DBI->connect('dbi:SQLite:dbname=' . $database->path . '.new', '', '', {RaiseError => 1, PrintError => 0});
    $new->do(q{PRAGMA encoding = 'UTF-16'});
    like error_of(sub { Testing::Outbox->create_tables($new, $outbox) }), qr/failed: database_has_encoding_UTF_8/,
        'a database of UTF-16 takes no tables';
    like error_of(sub { $outbox->publish($new, c => 'x') }), qr/failed: database_has_encoding_UTF_8/, 'and no row';
    rename $database->path . '.new', $database->path or die $!;
    like error_of(sub { $table->acquire_lease('holder', 10) }), qr/another file has taken the place/,
        'a follower notices that another file has its place';
};

# A version of SQLite that may lose commits.
check 'a version that may lose commits', SQLite => sub {
    my $database = shift;
    my $caution  = qr/^With journal_mode = WAL, SQLite before 3.51.3 may lose a commit.*this one is 3[.][0-9.]+[.]$/;
    for my $version (qw(3.40.1 3.44.5 3.44.6 3.50.6 3.50.7 3.51.2 3.51.3 3.52.0)) {
        my $table     = EventSource::XS::Outbox::Database::SQLite->new(dbh => Testing::Versioned->new($version, 'wal'));
        my $is_mended = $version =~ /\A3[.](?:44[.]6|50[.]7|51[.]3|52)/;
        like $table->caution // 'none', $is_mended ? qr/^none$/ : $caution, "SQLite $version";
    }
    my $table = EventSource::XS::Outbox::Database::SQLite->new(dbh => Testing::Versioned->new('3.40.1', 'delete'));
    is $table->caution, undef, 'without a WAL there is nothing to say';
};

# Bytes that are UTF-8 for Perl only: a character above Unicode, and one of CESU-8.
subtest 'bytes of a database' => sub {
    my $row = {channel => 'c', token => 't', data => "b\xF4\x90\x80\x80 \xED\xA0\xBD\xED\xB8\x80"};
    is_deeply [publications($row)], [[c => {data => "b\x{FFFD} \x{FFFD}\x{FFFD}"}]],
        'what no UTF-8 has becomes U+FFFD, as in a publish';
};

# So that InnoDB notes what is on the disk.
my %OPTIONS = (MariaDB => [config => {'innodb-flush-method' => 'fsync'}]);

$ENV{TZ} = 'Europe/Berlin';    # of the servers
for my $class (Testing::Database->classes) {
    subtest $class->name => sub {
        $class->require_or_skip_all;
        my $database = $class->start(@{$OPTIONS{$class->name} || []});
        Testing::Outbox->create_tables($database->connect, $outbox);
        $database->connect->do(q{SET GLOBAL lc_messages = 'de_DE'}) if $class->name eq 'MariaDB';
        my @drivers = $database->can('use_driver') ? qw(MariaDB mysql) : $database->driver;
        for my $driver (@drivers) {
            $database->use_driver($driver) if @drivers > 1;
            for my $attributes (@OF_ALL, @{$ATTRIBUTES{$driver}}) {
                subtest "DBD::$driver with @{[sort keys %$attributes]}" =>
                    sub { attributes_ok($database, %$attributes) };
            }
        }
        my $idle = $database->connect(Callbacks => {do => sub { undef $_; return }});
        is error_of(sub { $outbox->publish($idle, c => 'x') }), 'refused', 'a row that is not written is an exception';
        like $@, qr/the table eventsource_outbox has taken no row.* at \Q$0\E line/, 'which says so';
        run_checks($database, $class->name, $database->can('create_user') ? 'users' : ());
    };
}

done_testing;

# A handle of a version of SQLite.
package Testing::Versioned;

sub new { return bless {sqlite_version => $_[1], journal => $_[2]}, $_[0] }

sub selectrow_array { return $_[0]{journal} }
