# Rows that are longer than any event, which somebody has written without the checks of the table: a follower does not read
# them, names them, and publishes the rows behind them. t/outbox/handles.t has what is read in each database.

use lib 't/lib';
use Testing qw(Database::SQLite);
use Testing::CommandLine;
use Testing::Outbox;
use Testing::SourceTree qw(slurp);

my $LONG = 70_000_000;    # bytes: SQLite would read and write such a row as a whole

# The most memory that processes have had, in bytes.
sub memory_of {
    my @kilobytes = map { slurp("/proc/$_/status") =~ /^VmHWM:\s+([0-9]+)/m } @_;
    return map { 1024 * $_ } @kilobytes;
}

my $outbox = Testing::Outbox->new(Testing::Database::SQLite->start, Testing::CommandLine->new);
my $dbh    = $outbox->database->connect;
my $insert =
    "INSERT INTO eventsource_outbox (channel, event_key, data, comment) VALUES ('c', 'k', zeroblob($LONG), 'x')";
my $name =
    'row %d is refused (its texts have more than 33 MiB together, and a hub takes 16 MiB at most: shorten it, or delete'
    . ' the row), and can be marked neither so nor as a dead letter: DBD::SQLite::db do failed: string or blob too big;'
    . ' DELETE FROM eventsource_outbox WHERE id = %1$d removes it';
$dbh->do('PRAGMA ignore_check_constraints = ON');
$dbh->do($insert) for 1, 2;
my $follower = $outbox->follow;
$outbox->outbox->publish($dbh, c => {key => 'k', data => 'later'});
is_deeply [map { $_->{data} } $outbox->events(1, 'c')], ['later'],
    'the row behind long ones is published, though it has their key'
    or diag $follower->log;
my $line = sprintf $name, 1;
ok wait_until($DEADLINE, sub { index($follower->log, $line) >= 0 }), 'the log names a long one, and what removes it'
    or diag $follower->log;
is_deeply [grep { $_ > $LONG } memory_of($follower->pids)], [], 'no process has read it';
is $outbox->stats->{waiting}, 2, 'both wait';
$dbh->do(q{UPDATE eventsource_outbox SET data = 'short', comment = NULL WHERE id = 2});
is_deeply [map { $_->{data} } $outbox->events(2, 'c')], [qw(later short)],
    'when somebody has shortened one, it is published';
$dbh->do($_) for $line =~ /\b(DELETE .*) removes it/;
ok $outbox->wait_until_empty, 'none waits when that statement has removed the other one';
unlike $follower->log, qr/takes nothing|not answered/, 'the follower meets no error';
$follower->stop;

# Rows that an earlier release has marked.
$dbh->do( q{INSERT INTO eventsource_outbox (channel, event_key, data, state, problem) VALUES}
        . " (zeroblob($LONG), 'k', 'x', 2, 'a problem'), ('c', replace(hex(zeroblob(9000000)), '0', 'k'), 'x', 2, 'long')"
);
my @listed = split /\n/, $outbox->run('--list')->{out};
like $listed[0], qr/\A[0-9]+\t\tk\ta problem\z/,   'a dead letter is listed without the text that is too long';
like $listed[1], qr/\A[0-9]+\tc\tk{4097}\tlong\z/, 'or with its beginning';

done_testing;
