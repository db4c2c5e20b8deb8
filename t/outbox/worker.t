# A follower in the workers of a server with an event loop. One that blocks has none, and says what to run instead.

use lib 't/lib';
use Testing;
use Testing::Client;
use Testing::CommandLine;
use Testing::Database;
use Testing::Outbox;
use Testing::Server;

my ($class) = grep { $_->name eq 'SQLite' } Testing::Database->classes;
$class->require_or_skip_all;
my $database = $class->start;
my $shell    = Testing::CommandLine->new;
my $outbox   = Testing::Outbox->new($database, $shell, hub => 'worker');
my %env      = (OUTBOX_DSN => $database->dsn, OUTBOX_SOCKET => $shell->folder . '/worker.sock');

for my $name (qw(Twiggy Feersum)) {
    subtest $name => sub {
        my $server = Testing::Server->start_or_skip_all($name, 't/outbox/worker.psgi', env => \%env);
        my $client = Testing::Client->get($server->port, '/events');
        is $server->ask("/$name"), 'committed', 'a request commits';
        ok $client->read_until(qr{^data: /$name\r?$}m), 'the worker publishes it';
        is $outbox->stats->{follower} =~ /\A\S+ [0-9]+ / ? 'follows' : 'does not', 'follows', 'it follows the table';
        $server->ask('/stop');
        ok wait_until($DEADLINE, sub { !defined $outbox->stats->{follower} }),
            'the end of the object gives the lease to the next one';
    };
}

subtest 'an object that nobody keeps' => sub {
    my $server = Testing::Server->start_or_skip_all('Twiggy', 't/outbox/worker.psgi', env => {%env, OUTBOX_FREED => 1});
    $server->ask('/error');
    like $server->log, qr/the follower is freed before it has begun: keep what follow returns/, 'the log says so';
};

subtest 'a worker that has the file open' => sub {
    my $server = Testing::Server->start_or_skip_all('Twiggy', 't/outbox/worker.psgi', env => {%env, OUTBOX_KEPT => 1});
    ok wait_until($DEADLINE, sub { $server->log =~ /this process has \S+ open, and SQLite loses its locks when/ }),
        'the follower does not share it, and says so';
};

subtest 'Starman' => sub {
    my $server =
        Testing::Server->start_or_skip_all('Starman', 't/outbox/worker.psgi', env => {%env, OUTBOX_NO_LOOP => 1});
    like $server->ask('/error'), qr/follow needs an event loop.*run "eventsource outbox" as a process of its own, /,
        'a server that blocks has no loop';
    $server = Testing::Server->start('Starman', 't/outbox/worker.psgi', env => \%env);
    is $server->ask('/error'), '', 'one may be loaded';
    eventually_ok $DEADLINE, 'then the log says that it does not run' =>
        sub { $server->ask('/Starman'); $server->log =~ /its event loop does not run: run "eventsource/ };
};

done_testing;
