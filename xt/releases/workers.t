# Workers (Starman) and a hub process of two releases that speak different protocols: the hub process is upgraded first, then
# the application, one server after the other. Streams stay open meanwhile, and receive each event once and in order. The
# earlier release does not read the state of the later one, so there is no way back.

use lib 't/lib';
use Testing;
use File::Temp ();
use POSIX      ();
use Testing::Client;
use Testing::Deadline qw($DEADLINE wait_until);
use Testing::Machine;
use Testing::Process qw(hubs_at);
use Testing::Release;
use Testing::Subscriber qw(blocks);
use Time::HiRes         qw(sleep);

my ($old, $new) = Testing::Release->both_or_skip_all;
Testing::Machine->require_or_skip_all;

my %REMEDY  = (old => 'eventsource hub upgrade NAME', new => 'restart the worker');
my $REFUSED = 5;

# Two servers of a release that share a hub.
sub servers {
    my ($release, $store) = @_;
    my $first = Testing::Machine->start($store, env => $release->env, idle_exit => 60, grace => 60, workers => 2);
    my %env   = (EVENTSOURCE_RUNTIME_DIR => "$first->{folder}");
    my $other = Testing::Machine->start($store, env => $release->env(%env), idle_exit => 60, grace => 60, workers => 2);
    return ($first, $other);
}

sub env_of { return {EVENTSOURCE_RUNTIME_DIR => "$_[0]{folder}"} }

sub hub_of { my @hubs = hubs_at("$_[0]{folder}/shop.sock"); return "@hubs" }

# The next number that a publisher has.
my $next = 1;

# Starts a process that publishes numbers over whichever server takes them, each of them once, until it is ended. Their ids are
# in its file.
sub publisher {
    my @servers = @_;
    my $file    = File::Temp->new;
    $file->autoflush;
    defined(my $pid = fork) or die "fork: $!\n";
    return {pid => $pid, file => $file} if $pid;
    my $is_asked;
    local $SIG{TERM} = sub { $is_asked = 1 };
    for (my $number = $next; !$is_asked; $number++) {
        my $id = 'error';
        for (my $turn = 0; $id =~ /\Aerror/; $turn++) {
            sleep 0.05 if $turn;
            $id = eval { $servers[$turn % @servers]->publish(news => $number, once => "number $number") } // 'error';
        }
        print {$file} "$number $id\n";
        sleep 0.005;
    }
    return POSIX::_exit(0);
}

sub published {
    my $publisher = shift;
    open my $lines, '<', $publisher->{file}->filename or die "$!\n";
    return map { [split] } readline $lines;
}

sub publishes_on_ok {
    my ($publisher, $what) = @_;
    my $count = published($publisher);
    return ok wait_until($DEADLINE, sub { published($publisher) >= $count + 5 }), "$what: events are published";
}

sub follow {
    my ($server, $path, %query) = @_;
    my $client = Testing::Client->get($server->port, Testing::Server::path($path, channels => 'news,people', %query));
    $client->read_until(qr/^id: .*\n\r?\n/m) or die 'no position: ' . $client->body . "\n";
    return $client;
}

sub events_of {
    my $client = shift;
    return map { [@$_{qw(data id)}] } grep { ($_->{data} // '') =~ /\A[0-9]+\z/ } blocks($client->text);
}

sub servers_follow {
    my ($from, $to, $first, @servers) = @_;
    my ($to_release, $refuses) = ($to eq 'new' ? $new : $old, $to);
    my @clients =
        ((map { follow($_, '/hub') } @servers), follow($first, '/member', id => "ann of the $from", leave_after => 1));
    my $hub       = hub_of($first);
    my $publisher = publisher(@servers);
    publishes_on_ok($publisher, "all of the $from release");

    my $done = $to_release->run(env_of($first), qw(hub upgrade shop));
    is_deeply [@$done{qw(code err)}], [0, ''], "the program of the $to release takes the hub process over";
    is hub_of($first), $hub, 'in the same process';
    ok wait_until($DEADLINE, sub { $first->publish(other => 'x') eq 'error refused' }),
        "a worker of the $from release is refused";
    like $first->ask('/end', label => 'x'), qr/\Q$REMEDY{$refuses}\E/, 'and told what to do';
    my $late = Testing::Client->ask($first->port, '/hub?channels=news');
    is $late->status, 200, 'a client that comes there has a stream';
    like $late->body, qr/\A(?::.*\r?\n(?:\r?\n)?)*retry: [0-9]+\r?\n(?:\r?\n)?\z/,
        'which ends and tells it when to come back';

    for my $server (@servers) {
        $server->server->restart(TERM => %{$to_release->env});
        publishes_on_ok($publisher, "a server is of the $to release");
        push @clients, follow($server, '/hub');
    }
    publishes_on_ok($publisher, "all of the $to release");
    kill TERM => $publisher->{pid};
    waitpid $publisher->{pid}, 0;
    my @published = published($publisher);
    my ($first_number, $last) = map { $published[$_][0] } 0, -1;
    $next = $last + 1;
    for my $client (@clients) {
        ok $client->read_until(qr/^data: $last\r?\n.*\n\r?\n/m), 'a stream has the last event';
        my @events = events_of($client);
        is_deeply \@events, [@published[$events[0][0] - $first_number .. $#published]],
            "and all from $events[0][0] on, once and in order";
        unlike $client->text, qr/^event: gap|^event: leave\r?\ndata: .*of the $from/m, 'no gap, and nobody has left';
    }
    $_->leave for @clients;
    return;
}

sub stays_new {
    my $first  = shift;
    my $client = follow($first, '/hub');
    my $hub    = hub_of($first);
    my $done   = $old->run(env_of($first), qw(hub upgrade shop));
    is $done->{code}, $REFUSED, 'the program of the old release does not take the hub process over';
    like $done->{err}, qr/reads states of version/, 'and says why';
    my $id = $first->publish(news => $next);
    ok $client->read_until(qr/^data: $next\r?\nid: \Q$id\E\r?\n\r?\n/m), 'the process continues as it was';
    is hub_of($first), $hub, 'and is the same';
    $next++;
    $client->leave;
    return;
}

for my $kind (qw(memory file)) {
    my $folder  = File::Temp->newdir;
    my @servers = servers($old, $kind eq 'file' ? {file => "$folder/events"} : undef);
    subtest "$kind: an upgrade"   => sub { servers_follow('old', 'new', $servers[0], @servers) };
    subtest "$kind: the way back" => sub { stays_new($servers[0]) };
    $new->run(env_of($servers[0]), qw(hub stop shop));
    $_->end_ok for @servers;
}

subtest 'the workers first: they are refused until the hub process is upgraded, and need no other restart' => sub {
    my ($first) = my @servers = servers($old);
    my $client  = follow($first, '/hub');
    my $hub     = hub_of($first);
    $first->server->restart(TERM => %{$new->env});
    is $first->publish(news => 'x'), 'error refused', 'a worker of the new release is refused';
    like $first->ask('/end', label => 'x'), qr/\Q$REMEDY{old}\E/, 'and told what to do';
    is_deeply [(map { $servers[1]->publish(news => 7) =~ /-([0-9]+)\z/ } 1), hub_of($first)], [1, $hub],
        'the others publish, to the same process';
    is $new->run(env_of($first), qw(hub upgrade shop))->{code}, 0, 'the hub process is upgraded';
    my $id;
    ok wait_until($DEADLINE, sub { ($id = $first->publish(news => 8)) !~ /\Aerror/ }), 'the same worker publishes';
    ok $client->read_until(qr/^id: \Q$id\E\r?\n\r?\n/m), 'and the stream that was open has it';
    is_deeply [map { $_->[0] } events_of($client)], [7, 8], 'and what was published before';
    $client->leave;
    $new->run(env_of($first), qw(hub stop shop));
    $_->end_ok for @servers;
};

done_testing;
