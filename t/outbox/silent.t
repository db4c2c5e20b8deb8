# A database that falls silent, as one behind a firewall that drops everything: the follower says so, ends when it is told to,
# and continues when the database answers again. The worker that follows, and the hub, are not held up.

use lib 't/lib';
use Testing;
use Testing::CommandLine;
use Testing::Database;
use Testing::Outbox;
use Testing::Process qw(children_of none_runs suspend);
use Testing::Program;
use Testing::Server;
use Testing::SideBySide qw(run_each);
use Time::HiRes         qw(sleep);

# The command, for which a second is long.
my $IMPATIENT = 'use EventSource::XS::Outbox::FollowerLoop; $EventSource::XS::Outbox::FollowerLoop::PATIENCE = 1;'
    . ' do "./bin/eventsource" or die $@';

# A server that is stopped starts no more children. Some may end just now.
sub silence {
    my $database = shift;
    suspend($database->pid);
    my @pids = ($database->pid, children_of($database->pid));
    kill STOP => @pids;
    return @pids;
}

sub said {
    my ($program, $line) = @_;
    return wait_until($DEADLINE, sub { $program->log =~ $line });
}

# A server does not notice that a client has gone that waits for a lock.
sub lock_ok {
    my ($follower, $dbh) = @_;
    $dbh->begin_work;
    $dbh->do('LOCK TABLE eventsource_outbox');
    ok said($follower, qr/the database takes nothing: .*statement timeout/),
        'the follower says that the table is locked';
    unlike $follower->log, qr/not answered/, 'and is not ended';
    $dbh->rollback;
    ok said($follower, qr/is reached again/), 'it continues after that';
    return;
}

sub program_ok {
    my ($outbox, $database, $shell) = @_;
    my $follower = Testing::Program->start(
        ['-Mblib', '-e', $IMPATIENT, $outbox->command('--lease', 1)],
        EVENTSOURCE_RUNTIME_DIR     => $shell->folder,
        EVENTSOURCE_OUTBOX_PASSWORD => $database->password
    );
    ok said($follower, qr/this process follows/), 'a follower';
    my $patient = $outbox->follow('--lease', 1);
    ok said($patient, qr/another process follows/), 'and another one';
    my $dbh = $database->connect;
    lock_ok($follower, $dbh) if $dbh->{Driver}{Name} eq 'Pg';
    my @pids = silence($database);
    ok said($follower, qr/: the database has not answered for 1 seconds/), 'the follower says that nothing answers';
    kill CONT => @pids;
    ok said($follower, qr{not answered.*is reached again}s), 'and that something answers again' or diag $follower->log;
    is scalar(() = $follower->log =~ /not answered/g), 1, 'each once';
    $outbox->outbox->publish($dbh, silent => 'one');
    is scalar(() = $outbox->events(1, 'silent')), 1, 'then a row is published';
    @pids = silence($database);
    my @running = map { $_->pids } $follower, $patient;
    kill TERM => $_->pid for $follower, $patient;
    ok wait_until($DEADLINE, sub { $follower->has_ended && $patient->has_ended }), 'both end while nothing answers';
    ok wait_until($DEADLINE, sub { none_runs(@running) }),                         'with all their processes';
    is_deeply [map { $_->{status} } $follower, $patient], [0, 0], 'regularly';
    kill CONT => @pids;
    return;
}

sub worker_ok {
    my ($outbox, $database) = @_;
    Testing::Server->require_or_skip_all('Twiggy');
    my %env = (
        OUTBOX_DSN      => $database->dsn,
        OUTBOX_PASSWORD => $database->password,
        OUTBOX_SOCKET   => $outbox->hub->{socket},
        OUTBOX_USER     => $database->user
    );
    my $server = Testing::Server->start('Twiggy', 't/outbox/worker.psgi', env => \%env);
    ok wait_until($DEADLINE, sub { defined $outbox->stats->{follower} }), 'a worker follows';
    my @pids = silence($database);
    for (1 .. 5) {
        is $server->ask('/error'), '', 'it answers while nothing answers it';
        sleep 0.1;    # it looks at the database meanwhile
    }
    kill CONT => @pids;
    is $server->ask('/publish'),                'committed', 'then it commits';
    is scalar(() = $outbox->events(1, 'news')), 1,           'and the event is published';
    kill KILL => $server->pid;
    ok wait_until($DEADLINE, sub { !defined $outbox->stats->{follower} }),
        'the lease ends with a worker that is killed';
    return;
}

my %class = map { $_->name => $_ } grep { $_->can('kill') } Testing::Database->classes;

run_each [sort keys %class] => sub {
    my $class = $class{$_[0]};
    $class->require_or_skip_all;
    my $database = $class->start;
    my $shell    = Testing::CommandLine->new;
    my $outbox   = Testing::Outbox->new($database, $shell, hub => 'worker');
    program_ok($outbox, $database, $shell);
    worker_ok($outbox, $database);
};

done_testing;
