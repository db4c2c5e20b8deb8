# The reads and writes of a producer and a follower in each database, whatever attributes an application gives all its handles.

use lib 't/lib';
use Testing;
use EventSource::Hub;
use EventSource::Outbox;
use EventSource::XS::Outbox::Row;
use Testing::Database;
use Testing::Errors qw(error_of);
use Testing::Outbox;

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
    my $writer   = $database->connect(%attribute);
    my %given    = map { $_ => $writer->{$_} } keys %attribute;
    errors_ok($writer);
    $outbox->publish($writer, $TEXT   => {data  => $TEXT,  key => $LATIN, retain => 1});
    $outbox->publish($writer, news    => {data  => $LATIN, key => '', retry => 0});
    $outbox->publish($writer, news    => {retry => 0});
    $outbox->publish($writer, news    => "\x{D800} \x{110000}");
    $outbox->publish($writer, $NUMBER => {data => $NUMBER, key => $NUMBER, event => $NUMBER});
    is_deeply {
        map { $_ => $writer->{$_} } keys %attribute
    }, \%given, 'the attributes are as before';
    my $table = table_of($database->connect(%attribute), keep => 1);
    my @rows  = $table->waiting(10);
    is_deeply [publications(@rows)],
        [
        [$TEXT, {data => $TEXT, key => $LATIN, retain => 1}],
        [news    => {data  => $LATIN, retry => 0}],
        [news    => {retry => 0}],
        [news    => {data  => "\x{FFFD} \x{FFFD}"}],
        [$NUMBER => {data  => $NUMBER, key => $NUMBER, event => $NUMBER}],
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
    is scalar(() = $table->waiting(10)), 3, 'a row with the number of another one is left alone';
    $table->finish($rows[2]);
    $table->set_aside($rows[2], 'late');
    is $table->retry($rows[2]{id}), 0, 'a row that is published is not set aside, and waits no more';
    is $table->retry,               2, 'rows that were set aside wait again';
    $producer->do('DELETE FROM eventsource_outbox');
    return;
}

# An error of the database is an exception, whatever the handle makes of errors.
sub errors_ok {
    my $handle = shift;
    my $other  = EventSource::Outbox->new(hub => $HUB, table => 'no_such_table');
    for my $method (qw(publish retry stats)) {
        like error_of(sub { $other->$method($handle, $method eq 'publish' ? (c => 'x') : ()) }), qr/no_such_table/,
            "$method throws what the database refuses";
    }
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
            for my $attributes (@OF_ALL, @{$ATTRIBUTES{$driver}}) {
                subtest "DBD::$driver with @{[sort keys %$attributes]}" =>
                    sub { attributes_ok($database, %$attributes) };
            }
        }
        my $idle = $database->connect(Callbacks => {do => sub { undef $_; return }});
        is error_of(sub { $outbox->publish($idle, c => 'x') }), 'refused', 'a row that is not written is an exception';
        like $@, qr/the table eventsource_outbox has taken no row.* at \Q$0\E line/, 'which says so';
        lost_lease_ok($database) if $database->can('create_user');
    };
}

done_testing;
