# The log of a hub process that a worker has started, whose standard error nobody reads: each line is in the log of the server
# once, whichever workers come and go, and `eventsource hub log` and `eventsource stats` have the last ones. Lost wills are
# there.

use lib 't/lib';
use Testing qw(Machine);
use IO::Socket::UNIX;
use JSON::PP ();
use Testing::Client;
use Testing::CommandLine;
use Testing::Developer qw(has_command);
use Testing::Port;
use Testing::Process qw(is_running);
use Testing::Program;
use Testing::Redis;

my $json    = JSON::PP->new->utf8;
my $machine = Testing::Machine->start(undef, idle_exit => 60, grace => 60);
my $shell   = Testing::CommandLine->new;
my $LINE    = qr/cut a worker off: its messages are malformed/;

sub run_at {
    my ($folder, @command) = @_;
    local $ENV{EVENTSOURCE_RUNTIME_DIR} = $folder;
    my $program = Testing::Program->new("eventsource @command");
    $program->run({EVENTSOURCE_RUNTIME_DIR => $folder}, $^X, '-Mblib', 'bin/eventsource', @command);
    wait_until($DEADLINE, sub { $program->has_ended }) or die "it does not end\n";
    return $program->log =~ s/^Using .*blib\n//mr;
}

# Lets the hub process log a line: it is sent what no worker sends.
sub cause_line {
    my $path   = "$machine->{folder}/shop.sock";
    my $socket = IO::Socket::UNIX->new(Peer => $path) or die "$path: $!\n";
    syswrite $socket, pack 'V', 0;
    sysread $socket, my $end, 1;    # the process has closed it
    return;
}

sub printed { return scalar(() = $machine->server->log =~ /^eventsource-hub shop: $LINE$/mg) }

sub kept { return scalar(() = run_at("$machine->{folder}", qw(hub log shop)) =~ /\t$LINE$/mg) }

sub lines_ok {
    my ($count, $what) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    wait_until($DEADLINE, sub { printed() >= $count });
    return is_deeply [printed(), kept()], [$count, $count], $what;
}

subtest 'each line is in the log of the server once' => sub {
    $machine->publish_at_last(news => 'hello');
    cause_line() for 1 .. 3;
    lines_ok(3, 'three lines');
    my ($line) = split /\n/, run_at("$machine->{folder}", qw(hub log shop));
    like $line, qr/\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.]\d{3}Z\t$LINE\z/, 'the command has the time, too';
    my ($object) = map { $json->decode($_) } split /\n/, run_at("$machine->{folder}", qw(hub log shop --json));
    is_deeply [sort keys %$object], [qw(message time)], 'as an object';
    like run_at("$machine->{folder}", qw(stats --hub shop)), qr/^log[.]last\t$LINE\nlog[.]last_age\t[0-9.]+$/m,
        'stats have the last one';
};

subtest 'a process that was killed is in the log of the next one' => sub {
    my $pid  = $machine->kill_hub;
    my $line = "the process before, $pid, was killed or has crashed: history and state are lost";
    $machine->publish_at_last(news => 'again');
    like run_at("$machine->{folder}", qw(hub log shop)), qr/\t\Q$line\E$/m, 'the command has the line';
    ok wait_until($DEADLINE, sub { $machine->server->log =~ /^eventsource-hub shop: \Q$line\E$/m }),
        'so has the log of the server';
    $machine->stop_hub;
    $machine->publish_at_last(news => 'again');
    my $log = run_at("$machine->{folder}", qw(hub log shop));
    is scalar(() = $log =~ /\t\Qthe process before\E/g), 1, 'an end in order leaves none';
};

subtest 'a store has what a process that was killed had' => sub {
    my $folder = new_folder;
    my $with   = Testing::Machine->start({file => "$folder/events.db"}, idle_exit => 60, grace => 60);
    $with->publish_at_last(news => 'hello');
    my $pid = $with->kill_hub;
    $with->publish_at_last(news => 'again');
    my $line = "the process before, $pid, was killed or has crashed: its store has the history and the state";
    like run_at("$with->{folder}", qw(hub log shop)), qr/\t\Q$line\E$/m, 'the line says so';
    $with->server->stop;
    $with->stop_hub;
};

subtest 'a worker that ends leaves the lines to another one, and idle workers write, too' => sub {
    my $count = 3;
    for my $turn (1 .. 2) {
        my $stats = $json->decode(run_at("$machine->{folder}", qw(stats --hub shop --json)));
        for my $worker (@{$stats->{workers}}) {
            kill KILL => $worker;
            wait_until($DEADLINE, sub { !is_running($worker) });
            $machine->publish_at_last(news => 'again');
            cause_line();
            lines_ok(++$count, "after the end of worker $worker");
        }
    }
};

subtest 'without a worker lines are kept, and the next worker writes them' => sub {
    my $before = printed();
    $machine->server->stop;
    cause_line() for 1 .. 2;
    is kept(), $before + 2, 'the command has them';
    $machine->server->restart('TERM');
    $machine->publish_at_last(news => 'back');
    ok wait_until($DEADLINE, sub { printed() == $before + 2 }), 'the log of the new server has them'
        or diag $machine->server->log;
};

subtest 'an upgrade' => sub {
    my ($printed, $kept) = (printed(), kept());
    like run_at("$machine->{folder}", qw(hub upgrade shop)), qr/\Acontinues as [^\n]+ reconnect\n\z/, 'it is upgraded';
    cause_line();
    ok wait_until($DEADLINE, sub { printed() == $printed + 1 }), 'the log has a line more';
    is kept(), $kept + 1, 'and so has the command';
};

subtest 'of a process that has ended, and of none' => sub {
    my $kept = kept();
    $machine->server->stop;
    $machine->stop_hub;
    is kept(), $kept, 'the lines are there without the process';
    my $none = $shell->run(qw(hub log none));
    is $none->{code}, 3, 'there is no log of a hub that nobody has used';
    like $none->{err}, qr/\Aeventsource hub: there is no log of the hub none: no process of this user has served it/,
        'says so';
};

subtest 'wills that are lost because the process is stopped while its store is down are a line' => sub {
    plan skip_all => 'there is no redis-server here' if !has_command('redis-server');
    my $redis  = Testing::Redis->start;
    my $with   = Testing::Machine->start({redis => $redis->url}, idle_exit => 60, grace => 60, publish_timeout => 1);
    my @client = map { Testing::Client->get($with->port, '/will?channels=news') } 1 .. 2;
    $_->read_until(qr/^id: /m) for @client;
    $redis->kill;
    $with->stop_hub;
    my $line = qr/2 wills are lost: the hub has ended while its store was away$/m;
    ok wait_until($DEADLINE, sub { $with->server->log =~ /^eventsource-hub shop: $line/m }), 'in the log of the server'
        or diag $with->server->log;
    like run_at("$with->{folder}", qw(hub log shop)), qr/\t$line/, 'and the command has it';
};

subtest 'a store that is away when the process begins is a line of each worker, and the error has the reason' => sub {
    my $held  = Testing::Port->new;
    my $port  = $held->number;
    my $with  = Testing::Machine->start({redis => "redis://127.0.0.1:$port"}, idle_exit => 60, grace => 60);
    my $cause = qr/Redis at 127[.]0[.]0[.]1:$port cannot be reached: Connection refused/;
    is $with->publish(news => 'hello'), 'error unavailable', 'a publish fails' for 1 .. 3;
    like run_at("$with->{folder}", qw(publish --hub shop news hello)), qr/^eventsource publish: $cause/m,
        'with the reason';
    my $stream = Testing::Client->get($with->port, '/hub?channels=news');
    $stream->read_until(qr/^retry: /m);
    my $line    = qr/^eventsource-hub shop: does not serve process (\d+): $cause/m;
    my %workers = map { ($_ => 1) } my @told = $with->server->log =~ /$line/g;
    ok @told && @told == keys %workers, 'a worker says it once' or diag $with->server->log;
    my @kept = run_at("$with->{folder}", qw(hub log shop)) =~
        /\tthe store has not begun \(store_not_begun error="$cause.*"\)$/mg;
    is scalar @kept, 1, 'the log of the hub has it once, too';
};

subtest 'a file that cannot be opened' => sub {
    my $with = Testing::Machine->start({file => '/nonexistent/hub.db'}, idle_exit => 60, grace => 60);
    is $with->publish(news => 'hello'), 'error unavailable', 'a publish fails';
    like run_at("$with->{folder}", qw(hub log shop)),
        qr/\tthe store has not begun \(store_not_begun error=".*\/nonexistent.*"\)$/m,
        'the log of the hub has the reason';
};

done_testing;
