# The databases that tests start: what is committed outlives their kill, and users may do what they are granted.

use lib 't/lib';
use Testing;
use Testing::Database;
use Testing::Errors  qw(error_of);
use Testing::Process qw(children_of is_running);

my $TEXT = "gr\xFC\xDFe \x{1F600}";

sub value_of { return $_[0]->selectrow_array('SELECT value FROM things WHERE id = ?', undef, $_[1]) }

sub characters_ok {
    my ($database, $id) = @_;
    my $dbh = $database->connect;
    $dbh->do('INSERT INTO things VALUES (?, ?)', undef, $id, $TEXT);
    is value_of($dbh, $id), $TEXT, 'characters return as they were: ' . $dbh->{Driver}{Name};
    return;
}

sub kill_ok {
    my $database = shift;
    my $dbh      = $database->connect(AutoCommit => 0);
    $dbh->do('INSERT INTO things VALUES (?, ?)', undef, 8, 'not committed');
    my @pids = ($database->pid, children_of($database->pid));
    $database->kill;
    is_deeply [grep { is_running($_) } @pids], [], 'all processes are killed';
    isnt error_of(sub { $dbh->commit }), 'no exception', 'and a handle notices it';
    $dbh->{RaiseError} = 0;
    $database->restart;
    is value_of($database->connect, 8), undef, 'what was not committed is gone';
    $database->restart;
    return;
}

sub users_ok {
    my $database = shift;
    $database->create_user('writer', 'INSERT ON things');
    my $dbh = $database->connect_as('writer');
    ok $dbh->do('INSERT INTO things VALUES (?, ?)', undef, 9, 'nine'), 'a user may do what is granted';
    like error_of(sub { value_of($dbh, 9) }), qr/denied/, 'and nothing else';
    return;
}

for my $class (Testing::Database->classes) {
    subtest $class->name => sub {
        $class->require_or_skip_all;
        my $database = $class->start;
        $database->connect->do('CREATE TABLE things (id integer PRIMARY KEY, value varchar(99))');
        characters_ok($database, 1);
        if ($database->can('kill')) {
            users_ok($database);
            kill_ok($database);
        }
        if ($database->can('use_driver')) {
            $database->use_driver('mysql');
            characters_ok($database, 2);
        }
        is value_of($database->connect, 1), $TEXT, 'what was committed is there';
    };
}

done_testing;
