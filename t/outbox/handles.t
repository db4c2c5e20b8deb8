# The reads and writes of a follower in each database, whatever attributes an application gives all its handles.

use lib 't/lib';
use Testing;
use EventSource::Hub;
use EventSource::Outbox;
use EventSource::XS::Outbox::Row;
use Testing::Database;
use Testing::Errors qw(error_of);
use Testing::Outbox;

my $TEXT  = "gr\xFC\xDFe \x{20AC} \x{1F600}";
my $LATIN = "caf\xE9";
my $outbox =
    EventSource::Outbox->new(hub => EventSource::Hub->new(name => 'handles', socket => '/nowhere/handles.sock'));

my %ATTRIBUTES = (
    PostgreSQL => [{pg_bool_tf => 1}, {pg_enable_utf8 => 1}, {pg_placeholder_dollaronly => 1}],
    MariaDB    => [],
    SQLite     => [{sqlite_unicode => 0}, {sqlite_unicode => 1}],
);
my @OF_ALL = ({}, {FetchHashKeyName => 'NAME_uc', HandleError => sub { 1 }, PrintWarn => 1});

# The table as a follower has it.
sub table_of {
    my ($handle, %option) = @_;
    my $table = EventSource::XS::Outbox::Database->class_for($handle)->new(table => 'eventsource_outbox', %option);
    $table->attach($handle);
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
    $outbox->publish($producer, $TEXT => {data => $TEXT,  key => $LATIN, retain => 1});
    $outbox->publish($producer, news  => {data => $LATIN, key => '', retry => 0});
    $outbox->publish($producer, news  => {retry => 0});
    $outbox->publish($producer, news  => "\x{D800} \x{110000}");
    my $table = table_of($database->connect(%attribute), keep => 1);
    my @rows  = $table->waiting(10);
    is_deeply [publications(@rows)],
        [
        [$TEXT, {data => $TEXT, key => $LATIN, retain => 1}],
        [news => {data  => $LATIN, retry => 0}],
        [news => {retry => 0}],
        [news => {data  => "\x{FFFD} \x{FFFD}"}],
        ],
        'rows are read as they were published';
    is_deeply [map { EventSource::XS::Outbox::Row->group_of($_) } @rows[1, 2]], [qw(news news)],
        'the empty key is none';
    ok $table->hold('holder', 2.5), 'a lease may have fractions of seconds';
    my $problem = "what is wrong with $TEXT";
    $table->set_aside($rows[0], $problem);
    is $producer->selectrow_array('SELECT problem FROM eventsource_outbox WHERE state = 2'), $problem,
        'a reason has any text';
    $table->set_aside($rows[1], "$LATIN\0" x 20_000);
    is length $producer->selectrow_array("SELECT problem FROM eventsource_outbox WHERE id = $rows[1]{id}"), 1000,
        'a reason has a bound';
    $table->finish({%{$rows[2]}, token => $rows[1]{token}});
    is scalar(() = $table->waiting(10)), 2, 'a row with the number of another one is left alone';
    $table->finish($rows[2]);
    $table->set_aside($rows[2], 'late');
    is $table->retry($rows[2]{id}), 0, 'a row that is published is not set aside, and waits no more';
    is $table->retry,               2, 'rows that were set aside wait again';
    $producer->do('DELETE FROM eventsource_outbox');
    return;
}

# A follower needs no right to insert: without it, it says what is to be done.
sub lost_lease_ok {
    my $database = shift;
    my $dbh      = $database->connect;
    $dbh->do('DELETE FROM eventsource_outbox_follower');
    $database->create_user(follower => map { "SELECT, UPDATE, DELETE ON $_" }
            qw(eventsource_outbox eventsource_outbox_follower));
    my $insert = qr/INSERT INTO eventsource_outbox_follower \(id\) VALUES \(1\)/;
    like error_of(sub { table_of($database->connect_as('follower')) }),
        qr/eventsource_outbox_follower was deleted, and cannot be inserted \(.*denied.*\): have its owner run $insert/,
        'the row of the lease is deleted';
    $dbh->do('INSERT INTO eventsource_outbox_follower (id) VALUES (1)');
    ok table_of($database->connect_as('follower'))->hold('holder', 1), 'and inserted by hand';
    return;
}

# Bytes that are UTF-8 for Perl only: a character above Unicode, and one of CESU-8.
subtest 'bytes of a database' => sub {
    my $row = {channel => 'c', token => 't', data => "b\xF4\x90\x80\x80 \xED\xA0\xBD\xED\xB8\x80"};
    is_deeply [publications($row)], [[c => {data => "b\x{FFFD} \x{FFFD}\x{FFFD}"}]],
        'what no UTF-8 has becomes U+FFFD, as in a publish';
};

for my $class (Testing::Database->classes) {
    subtest $class->name => sub {
        $class->require_or_skip_all;
        my $database = $class->start;
        Testing::Outbox->create_tables($database->connect, $outbox);
        my @drivers = $database->can('use_driver') ? qw(MariaDB mysql) : $database->driver;
        for my $driver (@drivers) {
            $database->use_driver($driver) if @drivers > 1;
            for my $attributes (@OF_ALL, @{$ATTRIBUTES{$class->name}}) {
                subtest "DBD::$driver with @{[sort keys %$attributes]}" =>
                    sub { attributes_ok($database, %$attributes) };
            }
        }
        lost_lease_ok($database) if $database->can('create_user');
    };
}

done_testing;
