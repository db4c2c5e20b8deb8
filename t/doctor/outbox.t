# The doctor and the table of an outbox, in each database: what is missing, who may do what, and rows that nobody publishes.

use lib 't/lib';
use Testing;
use EventSource::Hub;
use EventSource::Outbox;
use File::Temp ();
use Testing::CommandLine;
use Testing::Database;
use Testing::Doctor qw(is_wrong);
use Testing::Outbox;
use Testing::Server;

my $shell  = Testing::CommandLine->new;
my $hub    = $shell->connect('shop');
my $outbox = EventSource::Outbox->new(hub => EventSource::Hub->new(name => 'shop', socket => $shell->folder . '/none'));
my %SCHEMA = (PostgreSQL => 'pg', MariaDB => 'mysql', SQLite => 'sqlite');

# The arguments of a command for a user of the database, whose password is in a file.
sub options {
    my ($database, $user) = @_;
    my @options = ('--dsn', $database->dsn);
    return @options if !defined $database->user;
    my $password = $database->{password_of}{$user // ''} ||= File::Temp->new;
    print {$password} $user // $database->password, "\n";
    $password->flush;
    return (@options, '--user', $user // $database->user, '--password-from', $password->filename);
}

sub examined { return Testing::Doctor->start(options(@_)) }

sub make_table {
    my $database = shift;
    my $dbh      = $database->connect;
    Testing::Outbox->create_tables($dbh, $outbox);
    return $dbh;
}

sub follow {
    my $database = shift;
    return $shell->start('outbox', '--hub', 'shop', options($database), '--lease', 2);
}

# Users who may do a part only.
sub rights_ok {
    my $database = shift;
    $database->create_user(producer => 'INSERT ON eventsource_outbox');
    $database->create_user(follower => map { "SELECT, UPDATE, DELETE ON $_" }
            qw(eventsource_outbox eventsource_outbox_follower));
    $database->create_user(reader => map { "SELECT ON $_" } qw(eventsource_outbox eventsource_outbox_follower));
    my $found = examined($database, 'producer')->finding('outbox');
    is $found->{verdict}, 'ok', 'a producer may insert only' or diag $found->{sentence};
    like $found->{sentence}, qr/takes rows of this user, who may not follow it \(.*denied/, 'and the report says so';
    is_deeply $found->{measured}, {may_follow => 0, may_insert => 1}, 'as figures, too';
    $found = examined($database, 'follower')->finding('outbox');
    like $found->{sentence}, qr/this user may follow it, and may not write rows/, 'a follower may not insert';
    is_wrong examined($database, 'reader'),
        'outbox', 'wrong',
        qr/can neither be written nor followed: (?!.*INSERT).*denied/,
        'who may only read: the reason is of following';
    return;
}

sub rows_ok {
    my ($database, $dbh) = @_;
    my $found = is_wrong(examined($database), 'outbox', 'warning', qr/is followed by nobody/, 'no follower, no rows');
    like $found->{remedy}, qr/eventsource outbox --hub NAME/, 'the remedy is a command';
    $outbox->publish($dbh, news => 'one');
    is_wrong examined($database), 'outbox', 'wrong',
        qr/is followed by nobody.*It has 1 row that waits/,
        'no follower, a row that waits';

    my $follower = follow($database);
    wait_until($DEADLINE, sub { !$outbox->stats($dbh)->{waiting} }) or diag $follower->log;
    $found = examined($database)->finding('outbox');
    is $found->{verdict}, 'ok', 'followed, and nothing waits' or diag $found->{sentence};
    like $found->{sentence},
        qr/0 rows that wait, 0 dead letters, a follower \(\S+, process [0-9]+\); this user may follow it,/,
        'the figures';

    # The table takes this id, which no client could send back.
    $dbh->do(q{INSERT INTO eventsource_outbox (channel, data, event_id) VALUES ('news', 'x', 'ends in a blank ')});
    ok wait_until($DEADLINE, sub { $outbox->stats($dbh)->{dead_letters} }), 'a row becomes a dead letter'
        or diag $follower->log;
    is_wrong(examined($database), 'outbox', 'warning', qr/has 1 dead letter\. /, 'a dead letter');
    return;
}

for my $class (Testing::Database->classes) {
    subtest $class->name => sub {
        $class->require_or_skip_all;
        my $database = $class->start;
        my $missing =
            is_wrong(examined($database), 'outbox', 'wrong',
            qr/can neither be written nor followed: .*\b(?:no such table|exist)/,
            'no table');
        like $missing->{remedy}, qr/eventsource outbox --schema $SCHEMA{$class->name}/, 'the remedy is the schema';
        my $dbh = make_table($database);
        rows_ok($database, $dbh);
        rights_ok($database) if $database->can('create_user');
        if ($class->name eq 'PostgreSQL') {
            my $follower = follow($database);
            ok wait_until($DEADLINE, sub { defined $outbox->stats($dbh)->{follower} }), 'a follower';
            $dbh->do('DELETE FROM eventsource_outbox');
            $dbh->do('ALTER TABLE eventsource_outbox DISABLE TRIGGER notify');
            is_wrong examined($database), 'outbox', 'warning',
                qr/has no trigger that notifies/,
                'a trigger that is off';
        }
        $dbh->do('UPDATE eventsource_outbox_follower SET version = 7');
        is_wrong(examined($database), 'outbox', 'wrong', qr/has version 7, and this release needs 2/,
            'another version');
        $database->stop if $database->can('stop');
    };
}

subtest 'beside a stream' => sub {
    Testing::Database::SQLite->require_or_skip_all;
    Testing::Server->require_or_skip_all('Starman');
    my $database = Testing::Database::SQLite->start;
    make_table($database);
    my $server = Testing::Server->start('Starman',   't/data/doctor.psgi', workers => 1);
    my $report = Testing::Doctor->start('--seconds', 1, options($database), $server->url('/hub'))->report;
    my %found  = map { ($_->{check} => $_->{verdict}) } @{$report->{findings}};
    is_deeply [@found{qw(status outbox)}], ['ok', 'warning'], 'both are judged';
};

subtest 'a database that is away' => sub {
    Testing::Database::PostgreSQL->require_or_skip_all;
    my @dsn    = ('--dsn', q{dbi:Pg:dbname=shop;password='very secret';host=127.0.0.1;port=1});
    my $doctor = Testing::Doctor->start(@dsn);
    is_wrong($doctor, 'outbox', 'wrong', qr/takes no connection: .*password=\.\.\.;host.*refused/, 'is said');
    unlike $doctor->log, qr/secret/, 'without its password';
    my $stats = $shell->run('outbox', '--hub', 'shop', @dsn, '--stats');
    like $stats->{err},   qr/refused/, 'the command says so, too';
    unlike $stats->{err}, qr/secret/,  'without the password';
    my $follower = $shell->start('outbox', '--hub', 'shop', @dsn);
    ok wait_until($DEADLINE, sub { $follower->log =~ /refused/ }), 'and the log of a follower';
    unlike $follower->log, qr/secret/, 'without the password';
};

done_testing;
