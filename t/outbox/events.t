# An outbox in each database: what is committed is published as a plain publish would have published it, and nothing else.

use lib 't/lib';
use Encode qw(decode);
use Testing;
use Testing::Checks qw(check run_checks);
use Testing::CommandLine;
use Testing::Database;
use Testing::Errors qw(error_of);
use Testing::Outbox;
use Testing::SideBySide qw(run_each);

my $TEXT  = "gr\xFC\xDFe \x{20AC} \x{1F600}";
my $BYTES = "caf\xC3\xA9";

# JSON that a decoder changes or refuses.
my @JSON = (
    '[1234567890123456.78,1764234567.123456,12345678901234567890123,1e400,-0.0,1.10]',
    '{"b":"cut \ud83d","a":1,"a":2}',
    ('[' x 600) . (']' x 600),
);

my $shell = Testing::CommandLine->new;

sub fields_of {
    return map {
        my $event = $_;
        join '|', map { defined $event->{$_} ? "$event->{$_}" : '-' } qw(channel event key data)
    } @_;
}

# The same events by a plain publish and by the outbox: a hub each.
sub same_events_ok {
    my ($database, @settings) = @_;
    my %setting = @settings;
    my $outbox = Testing::Outbox->new($database, $shell, hub => 'same', table => 'same_events', settings => \@settings);
    my $hub    = $outbox->hub;
    my $dbh    = $database->connect;
    my @calls  = (
        [publish => data  => 'plain'],
        [publish => data  => $TEXT],
        [publish => data  => {data => ["two\r\nlines", 'and', ''], event => "t\xFCp"}],
        [publish => data  => {data => $BYTES,                      bytes => 1}],
        [publish => json  => {key  => 'k', json => {list => [$TEXT, 1, undef, 2.5]}, retain => 1}],
        [publish => json  => {json => undef}],
        [publish => id    => {id   => 'my own id', data => 'x', retry => '0100', comment => "one\ntwo"}],
        [publish => $TEXT => {key  => $TEXT, data => 0}],
        [publish => empty => {data => ''}],
        [forget  => json  => 'k'],
        [forget  => json  => $TEXT, {event => 'gone', json => [$TEXT]}],
    );
    for my $call (@calls) {
        my ($method, $channel, @arguments) = @$call;
        $hub->$method("plain/$channel", @arguments);
        $outbox->outbox->$method($dbh, "outbox/$channel", @arguments);
    }
    $dbh->do('INSERT INTO same_events (channel, json) VALUES (?, ?)', undef, 'sql', $_) for @JSON;
    my $follower = $outbox->follow;    # it takes the form of show_channel from the hub
    ok $outbox->wait_until_empty, 'the follower publishes all' or diag $follower->log;
    my @plain  = $outbox->events(scalar @calls, 'plain/*');
    my @others = $outbox->events(scalar @calls, 'outbox/*');
    is_deeply [map { s{outbox/}{plain/}gr } fields_of(@others)], [fields_of(@plain)],
        'they are those of a plain publish, in their order' . (@settings ? ": @settings" : '');
    my $form = ($setting{show_channel} || '') eq 'data' ? '{"channel":"sql","data":%s}' : '%s';
    is_deeply [map { $_->{data} } $outbox->events(scalar @JSON, 'sql')], [map { sprintf $form, $_ } @JSON],
        'JSON that SQL has written is published as it is';
    $database->connect->do("DROP TABLE $_") for qw(same_events same_events_follower);

    if ($database->driver eq 'Pg') {
        $database->connect->do("DROP FUNCTION same_events_$_") for qw(notify publish);
    }
    $shell->run(qw(hub stop same));
    return;
}

# A follower is mostly there before the first worker, which says how the hub shows channels.
sub form_ok {
    my $database = shift;
    my $outbox   = Testing::Outbox->new($database, $shell, hub => 'form', table => 'form_outbox');
    my $dbh      = $database->connect;
    my $follower = $outbox->follow;
    $outbox->outbox->publish($dbh, form => 'before');
    ok $outbox->wait_until_empty, 'the follower has connected' or diag $follower->log;
    my $socket = $shell->folder . '/form.sock';
    my $code   = 'EventSource::Hub->new(name => "form", socket => shift, show_channel => "data")->publish(form => "x")';
    is system($^X, '-Iblib/lib', '-Iblib/arch', '-MEventSource::Hub', '-e', $code, $socket), 0,
        'a worker names show_channel';
    $outbox->outbox->publish($dbh, form => $_) for 1, 2;
    ok $outbox->wait_until_empty, 'the follower publishes all' or diag $follower->log;
    my @data = map { $_->{data} } $outbox->events(3, 'form');
    is_deeply [@data[-2, -1]], [map { qq({"channel":"form","data":"$_"}) } 1, 2], 'in the form of the hub';
    is_deeply [$follower->log =~ /(.*: the hub .*)/g], [],                        'without a word';
    $follower->stop;
    $database->connect->do("DROP TABLE $_") for qw(form_outbox form_outbox_follower);
    $shell->run(qw(hub stop form));
    return;
}

check 'transactions' => sub {
    my $outbox = shift;
    my $dbh    = $outbox->database->connect;
    my $write  = sub { $outbox->outbox->publish($dbh, transactions => $_[0]) };
    $dbh->begin_work;
    $write->('rolled back');
    $dbh->rollback;
    $dbh->begin_work;
    $write->('one');
    $dbh->do('SAVEPOINT here');
    $write->('back to the savepoint');
    $dbh->do('ROLLBACK TO SAVEPOINT here');
    $write->('two');
    is $outbox->stats->{waiting}, 0, 'others see no row of a transaction';
    $dbh->commit;
    is $outbox->stats->{waiting}, 2, 'they see it when it is committed';
    my $follower = $outbox->follow;
    is_deeply [map { $_->{data} } $outbox->events(2, 'transactions')], [qw(one two)],
        'what is rolled back is not published';
    $write->('three');
    is_deeply [map { $_->{data} } $outbox->events(3, 'transactions')], [qw(one two three)],
        'a row without a transaction is one of its own';
};

# What committed tells the follower is no event of the application.
check 'hints', MariaDB => sub {
    my $outbox = shift;
    my ($hub, $dbh) = ($outbox->hub, $outbox->database->connect);
    my $before = $hub->stats->{published};
    $outbox->outbox->publish($dbh, hints => 'x');
    $outbox->outbox->committed;
    ok wait_until($DEADLINE, sub { $hub->stats->{published} > $before }), 'committed tells the follower';
    $hub->publish(hints => 'the last one');
    my @events = $outbox->events(1, '**');
    is $events[-1]{data}, 'the last one', 'a pattern of all channels has the events';
    is_deeply [grep { $_->{channel} =~ /EventSource/ } @events], [], 'and no hint';
    unlike $outbox->run_hub('channels')->{out}, qr/EventSource/, 'no list has their channel';
    $dbh->do('DELETE FROM eventsource_outbox');
};

check 'wrong arguments' => sub {
    my $outbox = shift;
    my $dbh    = $outbox->database->connect;
    my $rows   = $outbox->stats->{waiting};
    my %wrong  = (
        'a channel without a name' => ['', 'x'],
        'unknown field evnt'       => [c => {evnt => 'x'}],
        'a line break in the id'   => [c => {id   => "a\nb",     data => 'x'}],
        'a long key'               => [c => {key  => 'k' x 1025, data => 'x'}],
        'data and json'            => [c => {json => 1,          data => 2}],
        'no data'                  => [c => undef],
        'a NUL'                    => [c => "a\0b"],
        'a long retry'             => [c => {retry => 86_400_001, data => 'x'}],
        'a large event'            => [c => 'x' x 16_000_001],
        'a long once'              => [c => 'x', {once => 'o' x 257}],
        'the option wait'          => [c => 'x', {wait => 0}],
    );
    for my $name (sort keys %wrong) {
        ok !eval { $outbox->outbox->publish($dbh, @{$wrong{$name}}) }, "$name is refused";
        is_deeply [$@->code, $@->file, $@->line], ['invalid', $0, __LINE__ - 1], "at the caller's line" or diag $@;
    }
    my %publishes = (
        channel => ["c\0", 'x'],
        json    => [c => {json => 'x' x 16_000_000}],
        key     => [c => {key  => "\0", data => 'x'}]
    );
    is error_of(sub { $outbox->outbox->publish($dbh, @{$publishes{$_}}) }), "invalid $_", "the field is $_"
        for sort keys %publishes;
    ok !eval { $outbox->outbox->forget($dbh, c => 'k', 'gone') }, 'forget takes no data';
    is_deeply [$@->field, $@->file, $@->line], ['event', $0, __LINE__ - 1], "at the caller's line" or diag $@;
    like error_of(sub { $outbox->outbox->publish('dbh', c => 'x') }), qr/invalid dbh/, 'no handle';
    is $outbox->stats->{waiting}, $rows, 'nothing is written';
};

# A row that SQL has written is checked by the table. What it cannot check, the hub refuses.
check 'rows of SQL' => sub {
    my $outbox = shift;
    my $dbh    = $outbox->database->connect;
    my $insert = sub {
        my %row     = @_;
        my @columns = sort keys %row;
        return $dbh->do(
            'INSERT INTO eventsource_outbox ('
                . join(', ', @columns)
                . ') VALUES ('
                . join(', ', ('?') x @columns) . ')',
            undef, @row{@columns}
        );
    };
    for my $row (
        {channel => '',  data      => 'x'},
        {channel => 'c', event_key => 'k' x 1025, data => 'x'},
        {channel => 'c', event     => "a\nb",     data => 'x'},
        {channel => 'c', data      => 'x',        json => '1'},
        {channel => 'c'},
    ) {
        isnt error_of(sub { $insert->(%$row) }), 'no exception',
            'the table refuses ' . join ', ', map { "$_ => '" . substr($row->{$_}, 0, 9) . "'" } sort keys %$row;
    }
    $insert->(channel => 'sql', data      => "from SQL $TEXT");
    $insert->(channel => 'sql', event_key => "\x{20AC}\t",       data      => 'refused', event_id => "a\tb\x01");
    $insert->(channel => 'sql', data      => 'refused',          event     => 'gap');
    $insert->(channel => 'sql', json      => '{"number": 1.10}', event_key => 'k', retain => 1);
    my $follower = $outbox->follow;
    my @events   = $outbox->events(2, 'sql');
    is_deeply [map { $_->{data} } @events], ["from SQL $TEXT", '{"number": 1.10}'],
        'rows of SQL are published, JSON as it is written';
    ok wait_until($DEADLINE, sub { $outbox->stats->{dead_letters} == 2 }), 'what the hub refuses becomes a dead letter';
    ok wait_until(
        $DEADLINE, sub { $follower->log =~ /row [0-9]+ is a dead letter: id must not contain a control character/ }
        ),
        'and the log says why'
        or diag $follower->log;
    my @listed = split /\n/, decode('UTF-8', $outbox->run('--list')->{out});
    like $listed[0], qr/\A([0-9]+)\tsql\t\x{20AC}\\t\tid must not contain a control character/, 'the command lists it';
    is scalar @listed, 2, 'and the other one';
    my ($id) = $listed[1] =~ /\A([0-9]+)\t/;
    is $outbox->run('--drop', $id + 1000)->{out}, "0\n", 'no row is dropped but a dead letter';
    is $outbox->run('--drop', $id)->{out},        "1\n", 'which is gone';
    like $outbox->run('--drop')->{err},           qr/which rows\? --drop ROW/,                 'one must be named';
    like $outbox->run(qw(--drop all))->{err},     qr/--drop takes numbers of rows, not 'all'/, 'by its number';
    like $outbox->run(qw(--list --retry))->{err}, qr/--list or --retry, not both/,             'one thing at a time';
    $insert->(channel => 'sql', data => 'refused', event => 'gap');
    $dbh->do("UPDATE eventsource_outbox SET event_id = NULL WHERE event_id IS NOT NULL AND state = 2");
    is $outbox->run('--retry')->{out}, "2\n", 'rows that are mended wait again';
    is_deeply [map { $_->{data} } $outbox->events(3, 'sql')], ["from SQL $TEXT", '{"number": 1.10}', 'refused'],
        'and are published';
    ok wait_until($DEADLINE, sub { $outbox->stats->{dead_letters} == 1 && !$outbox->stats->{waiting} }),
        'a row that is not mended is a dead letter again';
    $dbh->do('DELETE FROM eventsource_outbox WHERE state = 2');
};

# Rows that the table does not check, or whose producer has turned the checks off.
my %TOKENS = (
    MariaDB => [q{CONCAT('a', CHAR(0))}, qq{'gr\x{FC}\x{DF}e'}],
    SQLite  => [
        q{'a' || char(0)},      q{x'f47ac10b58cc4372a5670e02b2c3d479'},
        q{CAST(x'80' AS TEXT)}, q{'f47ac10b58cc4372a5670e02b2c3d479'}
    ],
);
my %UNCHECKED = (
    MariaDB => 'SET SESSION check_constraint_checks = 0',
    SQLite  => 'PRAGMA ignore_check_constraints = ON',
);

check 'hostile rows' => sub {
    my $outbox   = shift;
    my $kind     = $outbox->database->name;
    my $dbh      = $outbox->database->connect;
    my $follower = $outbox->follow;
    my $insert   = 'INSERT INTO eventsource_outbox (token, channel, data) VALUES ';
    my $refused  = 0;
    for my $token (@{$TOKENS{$kind} || []}) { $dbh->do("$insert ($token, 'hostile', 'token')") }
    if (my $unchecked = $UNCHECKED{$kind}) {
        my $other = $outbox->database->connect;
        $other->do($unchecked);
        $other->do("$insert ('no channel', '', 'refused')");
        $refused++;
    }
    if ($kind ne 'PostgreSQL') {
        $dbh->do(q{INSERT INTO eventsource_outbox (channel, json) VALUES ('hostile', '{"a":01}')});
        $refused++;
    }
    $outbox->outbox->publish($dbh, $_ => 'later') for 0, 'hostile';
    ok $outbox->wait_until_empty, 'no row waits' or diag $follower->log;
    my @expected = (('token') x @{$TOKENS{$kind} || []}, 'later');
    is_deeply [map { $_->{data} } $outbox->events(scalar @expected, 'hostile')], \@expected,
        'all are published, each once';
    is scalar(() = $outbox->events(1, '0')), 1,        'also in the channel 0';
    is $outbox->stats->{dead_letters},       $refused, 'what is no event is a dead letter';
    is_deeply $dbh->selectcol_arrayref('SELECT problem FROM eventsource_outbox WHERE json IS NOT NULL'),
        [('json is not JSON after 6 bytes') x ($kind ne 'PostgreSQL')], 'with the reason';
    unlike $follower->log, qr/takes nothing/, 'the follower meets no error' or diag $follower->log;
    unlike $follower->log, qr/may lose/,      'nor tells at each start what a report tells';
    $dbh->do('DELETE FROM eventsource_outbox WHERE state = 2');
};

my $HELD = "ein Trigger h\xE4lt sie fest";

# A trigger that refuses to delete a row, and one that does nothing instead, where there is such a thing.
my %TRIGGERS = (
    MariaDB => [
              qq{CREATE TRIGGER hold BEFORE DELETE ON eventsource_outbox FOR EACH ROW IF OLD.data = 'held' THEN}
            . qq{ SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '$HELD'; END IF}
    ],
    PostgreSQL => [
        q{CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF OLD.data = 'held' THEN}
            . qq{ RAISE EXCEPTION '$HELD'; END IF; IF OLD.data = 'kept' THEN RETURN NULL; END IF; RETURN OLD; END \$\$},
        'CREATE TRIGGER hold BEFORE DELETE ON eventsource_outbox FOR EACH ROW EXECUTE FUNCTION hold()'
    ],
    SQLite => [
              q{CREATE TRIGGER hold BEFORE DELETE ON eventsource_outbox BEGIN SELECT CASE OLD.data WHEN 'held' THEN}
            . qq{ RAISE(ABORT, '$HELD') WHEN 'kept' THEN RAISE(IGNORE) END; END}
    ],
);

# Rows that the database does not delete: they are published and dead letters, and hold up no others.
check 'rows that the database does not delete' => sub {
    my $outbox = shift;
    my $kind   = $outbox->database->name;
    my $dbh    = $outbox->database->connect;
    my @held   = $kind eq 'MariaDB' ? 'held' : qw(held kept);
    $dbh->do($_) for @{$TRIGGERS{$kind}};
    $outbox->outbox->publish($dbh, held => $_) for 'before', @held, 'after';
    my $follower = $outbox->follow;
    ok $outbox->wait_until_empty, 'no row waits' or diag $follower->log;
    is_deeply [map { $_->{data} } $outbox->events(2 + @held, 'held')], ['before', @held, 'after'], 'all are published';
    is_deeply $dbh->selectcol_arrayref('SELECT data FROM eventsource_outbox WHERE state = 2 ORDER BY id'), \@held,
        'those that the database does not delete are dead letters';
    my $problem = qr/it is published, and the database does not mark it so: .*$HELD/;
    like $dbh->selectrow_array(q{SELECT problem FROM eventsource_outbox WHERE data = 'held'}), $problem,
        'with the reason';
    like decode('UTF-8', $follower->log), qr/is a dead letter: $problem.*; remove the cause, and delete the row$/m,
        'and the log has the remedy';
    $dbh->do('DROP TRIGGER hold' . ($kind eq 'PostgreSQL' ? ' ON eventsource_outbox' : ''));
    $dbh->do('DELETE FROM eventsource_outbox WHERE state = 2');
};

# A trigger that lets nobody delete or change a row: what it does, and the SQL.
my %HOLDERS = (
    MariaDB => {
        raises => [
            map {
                "CREATE TRIGGER hold$_ BEFORE $_ ON eventsource_outbox FOR EACH ROW IF OLD.channel LIKE 'held%' THEN"
                    . " SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '$HELD'; END IF"
            } qw(DELETE UPDATE)
        ]
    },
    PostgreSQL => {
        map {
            $_->[0] => [
                'CREATE OR REPLACE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN'
                    . " IF OLD.channel LIKE 'held%' THEN $_->[1]; END IF;"
                    . q{ IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; RETURN NEW; END $$},
                'CREATE TRIGGER hold BEFORE UPDATE OR DELETE ON eventsource_outbox FOR EACH ROW EXECUTE FUNCTION hold()'
            ]
        } [raises => "RAISE EXCEPTION '$HELD' USING DETAIL = OLD.data"],
        [ignores => 'RETURN NULL']
    },
    SQLite => {
        map {
            my ($does, $raise) = @$_;
            $does => [
                map {
                          "CREATE TRIGGER hold$_ BEFORE $_ ON eventsource_outbox WHEN OLD.channel LIKE 'held%'"
                        . " BEGIN SELECT RAISE($raise); END"
                } qw(DELETE UPDATE)
            ];
        } [raises => "ABORT, '$HELD'"],
        [ignores => 'IGNORE']
    },
);

# Rows that the database lets nobody mark: one that is published, and one that the hub refuses, whose key waits.
check 'rows that can be neither deleted nor changed' => sub {
    my $outbox  = shift;
    my $kind    = $outbox->database->name;
    my $dbh     = $outbox->database->connect;
    my $holders = $HOLDERS{$kind};
    my $drop    = sub {
        my @names = $kind eq 'PostgreSQL' ? 'hold ON eventsource_outbox' : qw(holdDELETE holdUPDATE);
        $dbh->do("DROP TRIGGER $_") for @names;
    };
    for my $does (sort keys %$holders) {
        $dbh->do($_) for @{$holders->{$does}};
        $outbox->outbox->publish($dbh, "held $does" => 'secret');
        $dbh->do("INSERT INTO eventsource_outbox (channel, event, data) VALUES ('held $does 2', 'gap', 'secret')");
        $outbox->outbox->publish($dbh, "held $does 2" => 'later');
        my ($id) = $dbh->selectrow_array('SELECT min(id) FROM eventsource_outbox');
        $outbox->outbox->publish($dbh, "free $does" => $_) for 1 .. 3;
        my $follower = $outbox->follow;
        is scalar(() = $outbox->events(3, "free $does")), 3, "$does: others are published" or diag $follower->log;
        ok wait_until($DEADLINE, sub { $outbox->stats->{waiting} == 3 }), "$does: and acknowledged";
        is scalar(() = $outbox->events(1, "held $does")), 1, "$does: the row is published";
        my $reason = $does eq 'raises' ? ".*$HELD" : '';
        my $line   = qr/row $id is published, and can be marked neither so nor as a dead letter$reason.*; look at the/;
        like decode('UTF-8', $follower->log), $line,                    "$does: the log names it";
        unlike $follower->log,                qr/secret|takes nothing/, "$does: and not its data";
        $drop->();
        ok $outbox->wait_until_empty, "$does: without the trigger no row waits";
        is scalar(() = $outbox->events(1, "held $does")), 1, "$does: the row is not published again";
        is_deeply [map { $_->{data} } $outbox->events(1, "held $does 2")], ['later'], "$does: the key goes on";
        is $outbox->stats->{dead_letters}, 1, "$does: one that is refused is a dead letter";
        $dbh->do('DELETE FROM eventsource_outbox');
    }
};

# The transaction of another session has rows of more than one batch behind it.
check 'rows that another session has locked', locks => sub {
    my $outbox = shift;
    my $dbh    = $outbox->database->connect;
    my $other  = $outbox->database->connect(AutoCommit => 0);
    $outbox->outbox->publish($dbh, locked => {data => $_, key => $_}) for 1, 2;
    $dbh->do(q{INSERT INTO eventsource_outbox (channel, event, data) VALUES ('refused', 'gap', 'x')});
    my @ids = @{$dbh->selectcol_arrayref('SELECT id FROM eventsource_outbox ORDER BY id')};
    $other->selectrow_array("SELECT id FROM eventsource_outbox WHERE id = $_ FOR UPDATE") for @ids;
    $dbh->begin_work;
    $outbox->outbox->publish($dbh, locked => {data => $_, key => $_}) for 3 .. 300;
    $dbh->commit;
    my $follower = $outbox->follow;
    ok wait_until($DEADLINE, sub { $outbox->stats->{waiting} == 3 }), 'only locked rows wait' or diag $follower->log;
    is scalar(() = $outbox->events(300, 'locked')), 300, 'all are published';
    like $follower->log,
        qr/row $ids[0] is published, and another session has locked it; it is marked when that transaction ends/,
        'the log names a row';
    unlike $follower->log, qr/takes nothing|not answered/, 'and no error' or diag $follower->log;
    $other->rollback;
    ok $outbox->wait_until_empty, 'no row waits when the transaction has ended';
    is scalar(() = $outbox->events(300, 'locked')), 300, 'none is published again';
    is $outbox->stats->{dead_letters},              1,   'only the row that is refused is a dead letter';
    $dbh->do('DELETE FROM eventsource_outbox');
};

# A row that stays for some seconds, and one that is published once.
check 'rows that are kept, and rows that are published once' => sub {
    my $outbox   = shift;
    my $dbh      = $outbox->database->connect;
    my $follower = $outbox->follow('--keep', 3600);
    $outbox->outbox->publish($dbh, kept => 'one',   {once => 'the same'});
    $outbox->outbox->publish($dbh, kept => 'again', {once => 'the same'});
    ok $outbox->wait_until_empty, 'both rows are published';
    is_deeply [map { $_->{data} } $outbox->events(1, 'kept')], ['one'], 'an event with the same once is published once';
    is $dbh->selectrow_array('SELECT count(*) FROM eventsource_outbox WHERE state = 1'), 2, 'the rows are kept';
    undef $follower;
    $follower = $outbox->follow('--keep', 0.01);
    ok wait_until($DEADLINE, sub { !$dbh->selectrow_array('SELECT count(*) FROM eventsource_outbox') }),
        'and deleted when their time is over';
};

# Somebody deletes the row of the lease.
check 'a lost lease' => sub {
    my $outbox = shift;
    my $dbh    = $outbox->database->connect;
    for my $when ('while the follower runs', 'before it starts') {
        my $follower;
        if ($when =~ /while/) {
            $follower = $outbox->follow('--lease', 1);
            wait_until($DEADLINE, sub { $follower->log =~ /follows/ });
        }
        $dbh->do('DELETE FROM eventsource_outbox_follower');
        $follower ||= $outbox->follow('--lease', 1);
        ok wait_until($DEADLINE, sub { defined $outbox->stats->{follower} }), "the row of the lease is deleted $when"
            or diag $follower->log;
        unlike $follower->log, qr/another process|takes nothing/, 'the follower inserts it and follows';
    }
};

# A follower that does not look by itself. Rows of SQL, and those of another object, are committed, too.
check 'committed', MariaDB => sub {
    my $outbox   = shift;
    my $dbh      = $outbox->database->connect;
    my $follower = $outbox->follow(qw(--poll 1000 --lease 3000));
    ok wait_until($DEADLINE, sub { $follower->log =~ /this process follows/ }), 'a patient follower';
    for my $data (qw(one two)) {
        $dbh->do('INSERT INTO eventsource_outbox (channel, data) VALUES (?, ?)', undef, committed => $data);
        EventSource::Outbox->new(hub => $outbox->hub)->committed;
        ok $outbox->wait_until_empty, 'an object that has written nothing tells it so';
    }
};

check 'a takeover' => sub {
    my $outbox = shift;
    my $dbh    = $outbox->database->connect;
    my ($first, $second) = map { $outbox->follow('--lease', 1) } 1 .. 2;
    eventually_ok $DEADLINE, 'one of two follows' => sub {
        1 == grep { $_->log =~ /this process follows/ } $first, $second;
    };
    eventually_ok $DEADLINE, 'the other says so' => sub {
        1 == grep { $_->log =~ /another process follows/ } $first, $second;
    };
    ($first, $second) = ($second, $first) if $second->log =~ /this process follows/;
    kill STOP => -$first->pid;
    $outbox->outbox->publish($dbh, takeover => 'while the first one is stopped');
    is_deeply [map { $_->{data} } $outbox->events(1, 'takeover')], ['while the first one is stopped'],
        'the other one takes over from one that is stopped';
    kill CONT => -$first->pid;
    $outbox->outbox->publish($dbh, takeover => 'when it is back');
    is_deeply [map { $_->{data} } $outbox->events(2, 'takeover')],
        ['while the first one is stopped', 'when it is back'], 'which does no harm when it is back';
    ok wait_until($DEADLINE, sub { $first->log =~ /another process follows/ }), 'and waits';
    $second->stop;
    $outbox->outbox->publish($dbh, takeover => 'again');
    is scalar(() = $outbox->events(3, 'takeover')), 3, 'it follows again when the other one has ended';
};

my %class = map { ($_->name => $_) } Testing::Database->classes;

run_each [sort keys %class] => sub {
    my $class = $class{$_[0]};
    $class->require_or_skip_all;
    my $database = $class->start;
    same_events_ok($database);
    same_events_ok($database, show_channel => $_) for qw(data event);
    form_ok($database) if $class->name eq 'SQLite';
    my $outbox = Testing::Outbox->new($database, $shell, hub => lc $class->name);
    run_checks($outbox, $class->name, $class->can('kill') ? 'locks' : ());
};

done_testing;
