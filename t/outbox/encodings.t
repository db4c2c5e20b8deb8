# Databases of PostgreSQL whose encoding takes bytes that are no character: such a row becomes a dead letter, and holds up no
# others.

use lib 't/lib';
use Testing qw(Database::PostgreSQL);
use Testing::CommandLine;
use Testing::Errors qw(error_of);
use Testing::Outbox;

# By the encoding: a text as SQL writes it, and its characters; and a text that no UTF-8 stands for.
my %TEXTS = (
    ISO_8859_7 => [q{E'\341'},        "\x{3B1}", q{E'a\256'}],
    SQL_ASCII  => [q{E'caf\303\251'}, "caf\xE9", q{E'caf\351'}],
    WIN1252    => [q{E'caf\351'},     "caf\xE9", q{E'caf\201'}],
    WIN1253    => [q{E'\341'},        "\x{3B1}", q{E'a\252'}],
);

my $database = Testing::Database::PostgreSQL->start;
my $shell    = Testing::CommandLine->new;

sub encoding_ok {
    my $encoding = shift;
    my ($good, $characters, $bad) = @{$TEXTS{$encoding}};
    $database->create_database(lc $encoding, $encoding);
    my $outbox = Testing::Outbox->new($database, $shell, hub => lc $encoding);
    my $dbh    = $database->connect;
    my $insert = sub {
        my ($channel, $key, $data) = @_;
        $dbh->do("INSERT INTO eventsource_outbox (channel, event_key, data) VALUES ($channel, $key, $data)");
    };
    $dbh->do("SET client_encoding TO '$encoding'");    # without a conversion
    my $follower = $outbox->follow;
    $insert->($good,  $good, $good);
    $insert->(q{'c'}, $good, $bad);
    $insert->($good,  $bad,  q{'x'});
    $insert->($bad,   $good, q{'x'});
    $insert->($good,  $good, q{'later'});
    ok $outbox->wait_until_empty, "$encoding: no row waits" or diag $follower->log;
    is_deeply [map { $_->{data} } $outbox->events(2, $characters)], [$characters, 'later'],
        'the rows beside one that has no UTF-8 are published';
    my @problems =
        map { "$_ cannot become UTF-8: the encoding of the database is $encoding" } qw(data event_key channel);
    is_deeply $dbh->selectcol_arrayref('SELECT problem FROM eventsource_outbox WHERE state = 2 ORDER BY id'),
        \@problems,
        'each such row is a dead letter, with the column in its reason';
    like $follower->log,   qr/row [0-9]+ is a dead letter: \Q$problems[0]\E/, 'a line names it';
    unlike $follower->log, qr/takes nothing/,                                 'the follower meets no error';
    my $listed = $outbox->run('--list');
    my @lines  = split /\n/, $listed->{out};
    is scalar @lines, 3, 'the command lists all' or diag explain $listed;
    like $lines[$_], qr/\t\Q$problems[$_]\E\z/, "row $_" for 0 .. 2;
    my ($id) = $lines[2] =~ /\A([0-9]+)/;
    is $outbox->run('--drop', $id)->{out}, "1\n", 'a row is dropped';
    $dbh->do("UPDATE eventsource_outbox SET data = $good, event_key = $good WHERE state = 2");
    is $outbox->run('--retry')->{out},       "2\n", 'and others are mended, and wait again';
    is scalar(() = $outbox->events(1, 'c')), 1,     'and are published' or diag $follower->log;

    my $table = EventSource::XS::Outbox::Database->class_for($dbh)->new(table => 'eventsource_outbox');
    $table->attach($database->connect);
    $follower->stop;
    $insert->(q{'c'}, 'NULL', q{'x'});
    my ($row) = $table->waiting(1);
    is error_of(sub { $table->mark_dead($row, "a problem with \x{20AC} \x{1F600}") }), 'no exception',
        'a problem may have characters that the database lacks';
    $dbh->do('DELETE FROM eventsource_outbox');
    $dbh->do('ALTER TABLE eventsource_outbox DROP CONSTRAINT eventsource_outbox_event_key_check');
    $insert->(q{'c'}, "repeat($bad, 1000000)", q{'x'});
    my ($long) = $table->waiting(1);
    like error_of(sub { EventSource::XS::Outbox::Row->publication_of($long) }), qr/event_key has more than 4096 bytes/,
        'a long text has no bytes that are read';
    cmp_ok length $long->{event_key}, '<', 5000, 'but the first ones';
    return;
}

for my $encoding (sort keys %TEXTS) {
    subtest $encoding => sub { encoding_ok($encoding) };
}

done_testing;
