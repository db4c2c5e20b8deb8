# The handles that applications have publish into an outbox in their transactions: those of DBI with each driver and attribute,
# of DBIx::Class, DBIx::Connector, Mojo::Pg and Mojo::SQLite; SQL does, too, with the rights of a user who may only write.

use lib 't/lib';
use Testing;
use Testing::CommandLine;
use Testing::Database;
use Testing::Developer qw(has_command has_module);
use Testing::Errors    qw(error_of);
use Testing::Outbox;
use Testing::SourceTree qw(slurp);

my $TEXT = "gr\xFC\xDFe \x{20AC} \x{1F600}";

# The trigger of the manual that publishes, with this channel.
sub trigger {
    my $channel = shift;
    my ($sql)   = slurp('perl/EventSource/Outbox.pm') =~ /^(    CREATE FUNCTION stock_changed.*?;)\n\n/ms;
    return split /(?<=\$\$;)\n/, $sql =~ s/'stock'/'$channel'/gr;
}

my $shell = Testing::CommandLine->new;

# The data that the hub is to have in the end, in their order, for each channel.
my %expected;

sub rows { return $_[0]->connect->selectrow_array('SELECT count(*) FROM eventsource_outbox') }

# A transaction of a handle is committed, another one is not. `transaction` is called with code for its middle, which dies of
# the one that is to be rolled back.
sub transactions_ok {
    my ($outbox, $name, $transaction) = @_;
    my $before  = rows($outbox->database);
    my $publish = sub { $outbox->outbox->publish($_[0], handles => {data => "$name $_[1]", key => $TEXT}) };
    is error_of(
        sub {
            $transaction->(sub { $publish->($_[0], "$TEXT") });
        }
        ),
        'no exception', "$name publishes";
    like error_of(
        sub {
            $transaction->(sub { $publish->($_[0], 'rolled back'); die "enough\n" });
        }
        ),
        qr/enough/, "$name rolls back";
    is rows($outbox->database), $before + 1, "$name: what is committed is there, and nothing else";
    push @{$expected{handles}}, "$name $TEXT";
    return;
}

sub with_begin_work {
    my $dbh = shift;
    return sub {
        my $code = shift;
        $dbh->begin_work if $dbh->{AutoCommit};
        eval { $code->($dbh); 1 } or do { my $error = $@; $dbh->rollback; die $error };
        $dbh->commit;
    };
}

sub dbi_ok {
    my $outbox   = shift;
    my $database = $outbox->database;
    my @unicode  = $database->unicode;
    my %with     = (
        'DBI'                    => {},
        'DBI without AutoCommit' => {AutoCommit => 0},
        'DBI without RaiseError' => {RaiseError => 0},
        'DBI with strict bytes'  => {map { $_ eq 'pg_enable_utf8' ? () : ($_ => 0) } @unicode},
    );
    $with{'DBI with strict bytes'} = {pg_enable_utf8 => 0} if $database->driver eq 'Pg';
    for my $name (sort keys %with) {
        my ($dsn, $user, $password, $attributes) = $database->connect_info(%{$with{$name}});
        my $dbh = DBI->connect($dsn, $user, $password, $attributes);
        transactions_ok($outbox, $database->driver . " $name", with_begin_work($dbh));
        is !!$dbh->{RaiseError}, $name ne 'DBI without RaiseError', "$name: the attribute remains";
    }
    my $dbh   = $database->connect(RaiseError => 0);
    my $other = EventSource::Outbox->new(hub => $outbox->hub, table => 'no_such_table');
    like error_of(sub { $other->publish($dbh, c => 'x') }), qr/no_such_table/,
        'a row that cannot be written is an exception, also without RaiseError';
    return;
}

sub modules_ok {
    my $outbox   = shift;
    my $database = $outbox->database;
SKIP: {
        skip 'there is no DBIx::Class here', 1 if !has_module('DBIx::Class');
        require DBIx::Class::Schema;
        $database->use_driver('mysql') if $database->can('use_driver');    # DBIx::Class does not know DBD::MariaDB
        my $schema = DBIx::Class::Schema->connect($database->connect_info);
        for my $handle ($schema, $schema->storage) {
            transactions_ok $outbox, ref($handle) =~ s/.*:://r . ' of DBIx::Class', sub {
                my $code = shift;
                $schema->txn_do(sub { $code->($handle) });
            };
        }
    }
SKIP: {
        skip 'there is no DBIx::Connector here', 1 if !has_module('DBIx::Connector');
        $database->use_driver('MariaDB') if $database->can('use_driver');
        my $connector = DBIx::Connector->new($database->connect_info);
        transactions_ok $outbox, 'DBIx::Connector', sub {
            my $code = shift;
            $connector->txn(sub { $code->($connector) });
        };
    }
    return;
}

# Mojo::Pg and Mojo::SQLite: a transaction that goes out of scope is rolled back.
sub mojo_ok {
    my ($outbox, $module, $method, $from) = @_;
SKIP: {
        skip "there is no $module here", 1 if !has_module($module);
        my $db = $module->new->$method($from)->db;
        transactions_ok $outbox, $module, sub {
            my $code        = shift;
            my $transaction = $db->begin;
            $code->($db);
            $transaction->commit;
        };
    }
    return;
}

# Rows that SQL writes: by the function, by a trigger, and by an INSERT.
sub sql_ok {
    my $outbox = shift;
    my $dbh    = $outbox->database->connect;
    $dbh->do(q{SELECT eventsource_outbox_publish('sql', json => '{"left": 2}', key => '7', retain => true)});
    $dbh->do(q{SELECT eventsource_outbox_publish('sql', ?, event => 'said')}, undef, $TEXT);
    $dbh->do(q{SELECT eventsource_outbox_publish('sql', key => '7', forget => true)});
    isnt error_of(sub { $dbh->do(q{SELECT eventsource_outbox_publish('sql')}) }), 'no exception',
        'the function refuses an event without a field';
    $dbh->do('CREATE TABLE stock (id integer PRIMARY KEY, amount integer NOT NULL)');
    $dbh->do($_) for trigger('sql');
    $dbh->begin_work;
    $dbh->do('INSERT INTO stock VALUES (1, 5), (2, 6)');
    $dbh->rollback;
    $outbox->database->create_user('clerk', 'INSERT, SELECT, UPDATE, DELETE ON stock');
    my $clerk = $outbox->database->connect_as('clerk');
    $clerk->do('INSERT INTO stock VALUES (1, 3)');
    $clerk->do('UPDATE stock SET amount = amount - 1');
    $clerk->do('UPDATE stock SET id = 2');
    $clerk->do('DELETE FROM stock');
    my @changes = ('{"id":1,"amount":3}', '{"id":1,"amount":2}', '1', '{"id":2,"amount":2}', '2');
    push @{$expected{sql}}, '{"left": 2}', $TEXT, '7', @changes;
    return;
}

# A producer that may only write. On a sequence of IDENTITY and AUTO_INCREMENT nobody needs rights.
sub writer_ok {
    my $outbox   = shift;
    my $database = $outbox->database;
    $database->create_user('writer', 'INSERT ON eventsource_outbox');
    my $dbh = $database->connect_as('writer');
    transactions_ok($outbox, 'a user who may only write', with_begin_work($dbh));
    if ($database->driver eq 'Pg') {
        $dbh->do(q{SELECT eventsource_outbox_publish('sql', 'by a writer')});
        push @{$expected{sql}}, 'by a writer';
    }
    like error_of(sub { $dbh->selectrow_array('SELECT count(*) FROM eventsource_outbox') }), qr/denied/,
        'such a user cannot read';
    like error_of(sub { $dbh->do('DELETE FROM eventsource_outbox') }), qr/denied/, 'nor delete';
    like error_of(sub { $outbox->outbox->stats($dbh) }),               qr/denied/, 'nor ask for statistics';
    return;
}

# The schema of a table with another name, in a schema of its own.
sub other_table_ok {
    my ($database, $prepare, $table, @more) = @_;
    my $dbh = $database->connect;
    $dbh->do($_) for @$prepare;
    my $outbox = Testing::Outbox->new($database, $shell, hub => 'other', table => $table);
    $outbox->outbox->publish($dbh, shop => $TEXT);
    $dbh->do($_) for @more;
    my $follower = $outbox->follow;
    ok $outbox->wait_until_empty, "the table $table is followed" or diag $follower->log;
    is_deeply [map { $_->{data} } $outbox->events(1 + @more, 'shop')], [$TEXT, map { 'from SQL' } @more],
        'and what is in it is published';
    $shell->run(qw(hub stop other));
    return;
}

# As documented: eventsource outbox --schema pg | psql.
sub piped_ok {
    my ($database, $kind, $program, @command) = @_;
SKIP: {
        skip "there is no $program here", 1 if !has_command($program);
        my $table  = 'piped';
        my $schema = $shell->run('outbox', '--schema', $kind, '--table', $table);
        is_deeply [@$schema{qw(code err)}], [0, ''], "eventsource outbox --schema $kind prints the schema";
        open my $in, '|-', $program, @command or die "$program: $!\n";
        print {$in} $schema->{out};
        ok close $in, "$program takes it";
        is $database->connect->selectrow_array("SELECT version FROM ${table}_follower"), 2, 'the tables are there';
    }
    return;
}

my %also = (
    PostgreSQL => sub {
        my ($outbox, $database) = @_;
        my $url = sprintf 'postgresql://%s:%s@127.0.0.1:%d/postgres', $database->user, $database->password,
            $database->port;
        mojo_ok($outbox, 'Mojo::Pg', from_string => $url);
        sql_ok($outbox);
        writer_ok($outbox);
        other_table_ok($database, ['CREATE SCHEMA shop'], 'shop.outbox',
            q{SELECT shop.outbox_publish('shop', 'from SQL')});
        piped_ok($database, 'pg', 'psql', qw(-q -v ON_ERROR_STOP=1), $url);
    },
    MariaDB => sub {
        my ($outbox, $database) = @_;
        $database->use_driver('mysql');
        dbi_ok($outbox);
        $database->use_driver('MariaDB');
        writer_ok($outbox);
        other_table_ok($database, ['CREATE DATABASE shop CHARACTER SET utf8mb4'],
            'shop.outbox', q{INSERT INTO shop.outbox (channel, data) VALUES ('shop', 'from SQL')});
        local $ENV{MYSQL_PWD} = $database->password;
        piped_ok $database, 'mysql', 'mariadb', '-h127.0.0.1',
            '-P' . $database->port,
            '-u' . $database->user, 'testing';
    },
    SQLite => sub {
        my ($outbox, $database) = @_;
        mojo_ok($outbox, 'Mojo::SQLite', from_filename => $database->path);
        other_table_ok($database, [], 'main.my_outbox',
            q{INSERT INTO my_outbox (channel, data) VALUES ('shop', 'from SQL')});
        piped_ok($database, 'sqlite', 'sqlite3', '-bail', $database->path);
    },
);

for my $class (Testing::Database->classes) {
    subtest $class->name => sub {
        $class->require_or_skip_all;
        my $database = $class->start;
        my $outbox   = Testing::Outbox->new($database, $shell, hub => lc $class->name);
        %expected = ();
        dbi_ok($outbox);
        modules_ok($outbox);
        $also{$class->name}->($outbox, $database);
        my $follower = $outbox->follow;
        ok $outbox->wait_until_empty, 'a follower publishes all' or diag $follower->log;
        is $outbox->stats->{dead_letters}, 0, 'and there is no dead letter';

        for my $channel (sort keys %expected) {
            is_deeply [map { $_->{data} } $outbox->events(scalar @{$expected{$channel}}, $channel)],
                $expected{$channel},
                "the events of $channel are what was committed, in its order";
        }
    };
}

done_testing;
