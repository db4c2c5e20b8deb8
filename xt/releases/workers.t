# Workers (Starman) and a hub process of two releases that speak different protocols and save different states: workers of the
# other release are refused, and so is an upgrade to the other program; the process continues with its streams. The application
# changes its release when the process has been stopped.

use lib 't/lib';
use Testing;
use Testing::Client;
use Testing::Deadline qw($DEADLINE wait_until);
use Testing::Machine;
use Testing::Process qw(hubs_at);
use Testing::Release;
use Testing::Subscriber qw(blocks);

my ($old, $new) = Testing::Release->both_or_skip_all;
Testing::Machine->require_or_skip_all;

my $REFUSED = 5;

# Each with the remedy that workers of the other release are told.
my @CASES = (
    {what => 'an old process', of => $old, by => $new, remedy => 'eventsource hub upgrade NAME'},
    {what => 'a new process',  of => $new, by => $old, remedy => 'restart the worker'},
);

# Two servers of a release that share a hub.
sub servers {
    my $release = shift;
    my $first   = Testing::Machine->start(undef, env => $release->env, idle_exit => 60, grace => 60);
    my %env     = (EVENTSOURCE_RUNTIME_DIR => "$first->{folder}");
    my $other   = Testing::Machine->start(undef, env => $release->env(%env), idle_exit => 60, grace => 60);
    return ($first, $other);
}

sub hub_of { my @hubs = hubs_at("$_[0]{folder}/shop.sock"); return "@hubs" }

sub follow {
    my ($server, $path, %query) = @_;
    my $client = Testing::Client->get($server->port, Testing::Server::path($path, channels => 'news,people', %query));
    $client->read_until(qr/^id: .*\n\r?\n/m) or die 'no position: ' . $client->body . "\n";
    return $client;
}

for my $case (@CASES) {
    my ($of, $by) = @$case{qw(of by)};
    subtest "$case->{what} refuses workers and a program of the other release, and continues" => sub {
        my ($first, $other) = my @servers = servers($of);
        my $env     = {EVENTSOURCE_RUNTIME_DIR => "$first->{folder}"};
        my @clients = (follow($first, '/hub'), follow($first, '/member', id => 'ann', leave_after => 60));
        my $hub     = hub_of($first);
        $first->server->restart(TERM => %{$by->env});
        is $first->publish(news => 'x'), 'error refused', 'a worker of the other release is refused';
        like $first->ask('/end', label => 'x'), qr/\Q$case->{remedy}\E/, 'and told what to do';
        my $late = Testing::Client->ask($first->port, '/hub?channels=news');
        is $late->status, 200, 'a client that comes there has a stream';
        like $late->body, qr/\A(?::.*\r?\n(?:\r?\n)?)*retry: [0-9]+\r?\n(?:\r?\n)?\z/,
            'which ends and tells it when to come back';
        my $done = $by->run($env, qw(hub upgrade shop));
        is $done->{code}, $REFUSED, 'the other program does not take the process over';
        like $done->{err}, qr/reads states of version/, 'and says why';
        my $id = $other->publish(news => 7);
        is hub_of($first), $hub, 'the process is the same';

        for my $client (@clients) {
            ok $client->read_until(qr/^data: 7\r?\nid: \Q$id\E\r?\n\r?\n/m), 'its streams are open';
            is_deeply [grep { /\A(?:gap|leave)\z/ } map { $_->{event} // () } blocks($client->text)], [],
                'nobody has left';
            $client->leave;
        }
        $other->server->restart(TERM => %{$by->env});
        is $of->run($env, qw(hub stop shop))->{code}, 0, 'the process is stopped';
        ok wait_until($DEADLINE, sub { $first->publish(news => 8) !~ /\Aerror/ }), 'the other release has its own';
        $by->run($env, qw(hub stop shop));
        $_->end_ok for @servers;
    };
}

done_testing;
