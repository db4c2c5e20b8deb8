# The disk of the database and of the hub's store is full, and has room again: what was committed is published once, in its
# order, and what could not be committed is not.

use lib 't/lib';
use Testing;
use Testing::CommandLine;
use Testing::Database;
use Testing::Developer qw(needs);
use Testing::Outbox;

my ($class) = grep { $_->name eq 'SQLite' } Testing::Database->classes;
$class->require_or_skip_all;

# The disk is a small one, in a perl with its own mounts.
if (!defined $ENV{OUTBOX_SMALL_DISK}) {
    my $folder = new_folder;
    my @mount  = ('unshare', '-m', 'sh', '-c', 'mount -t tmpfs -o size=8m tmpfs "$0" && exec "$@"', $folder->dirname);
    needs('nothing can be mounted here') if system(@mount, 'true') != 0;
    local $ENV{OUTBOX_SMALL_DISK} = $folder->dirname;
    open my $output, '-|', @mount, $^X, (map { "-I$_" } @INC), $0 or die "unshare: $!\n";
    print "    $_" while <$output>;    # a subtest
    ok close $output, 'on a small disk';
    done_testing;
    exit;
}

my $disk = $ENV{OUTBOX_SMALL_DISK};
local $ENV{TMPDIR} = $disk;
my $database = $class->start;
my $shell    = Testing::CommandLine->new;
my $outbox   = Testing::Outbox->new($database, $shell, settings => [store => {file => "$disk/events.db"}]);
my $dbh      = $database->connect;
my @committed;

sub transaction {
    my $number = shift;
    return eval {
        $dbh->begin_work;
        $outbox->outbox->publish($dbh, numbers => {data => $number . ' ' . 'x' x 2000});
        $dbh->commit;
        push @committed, $number;
        1;
    } || do {
        eval { $dbh->rollback } if !$dbh->{AutoCommit};
        0;
    };
}

sub fill {
    open my $file, '>', "$disk/filling" or die "$disk/filling: $!\n";
    binmode $file;
    1 while syswrite $file, "\0" x 4096;
    return;
}

my $follower = $outbox->follow('--lease', 1);
transaction($_) for 1 .. 5;
ok $outbox->wait_until_empty, 'rows are published';
kill STOP => -$follower->pid;
transaction($_) for 6 .. 40;
fill();
ok wait_until($DEADLINE, sub { !transaction(41) }), 'a transaction fails when the disk is full';
kill CONT => -$follower->pid;
ok wait_until($DEADLINE, sub { $follower->log =~ /takes nothing/ }), 'the follower says that something takes nothing';
unlink "$disk/filling" or die "$disk/filling: $!\n";
ok wait_until($DEADLINE, sub { transaction(42) }), 'transactions succeed when there is room';
ok $outbox->wait_until_empty,                      'all rows are published' or diag $follower->log;
is_deeply [map { $_->{data} =~ /\A([0-9]+) / } $outbox->events(scalar @committed, 'numbers')], \@committed,
    'what was committed, each once, in its order';

done_testing;
