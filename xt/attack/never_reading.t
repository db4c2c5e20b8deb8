# Hundreds of clients that never read, each with a long history to receive. While they begin with it, resume, are drained,
# and when the process ends, the memory of the server grows by no more than their own buffers.

use lib 't/lib';
use Testing qw(native Server=Starman);
plan skip_all => 'it looks at /proc' if !-e '/proc/self/status';
use Testing::Client;
use Testing::HubServer qw(path);
use Testing::Process   qw(memory_of);
use Testing::SlowReader;
use Time::HiRes qw(sleep);

my $CLIENTS  = 300;
my $MOST     = 20;    # megabytes for all of them, besides the history
my $CHANNELS = 101;

# Megabytes of the process that holds the streams; 0 when it is gone.
sub memory { return (memory_of(shift))[0] || 0 }

sub at_most_ok {
    my ($megabytes, $what) = @_;
    note sprintf '%.1f MB', $megabytes;
    return cmp_ok $megabytes, '<', $MOST, $what;
}

# Publishes some 90,000 events, 12 MB, to many channels, and so many to one of them that it has evicted some.
sub fill {
    my $server  = shift;
    my $names   = join ',', map { "c$_" } 1 .. $CHANNELS;
    my ($first) = $server->publish(channel => $names, count => 9_000, bytes => 110);
    $server->publish(channel => $names, count => 9_000, bytes => 110) for 2 .. 9;
    $server->publish(channel => 'c1',   count => 1_200, bytes => 110);
    return $first;
}

# Clients with a small window that have sent a request and read nothing.
sub open_all {
    my ($server, $path, $id) = @_;
    my @headers = defined $id ? ('Last-Event-ID' => $id) : ();
    return map { Testing::SlowReader->get($server->port, $path, headers => \@headers) } 1 .. $CLIENTS;
}

for my $name (Testing::Server->names) {
    for my $on_slow ('disconnect', 'gap') {
        next if $on_slow eq 'gap' && $name ne 'Starman';
        subtest "$name, $on_slow" => sub {
            my $server = Testing::HubServer->start($name, settings => {on_slow => $on_slow, retry => 60_000});
            my $first  = fill($server);
            my $pid    = $server->stats->{pid};
            my $all    = path('/oldest', patterns => '**');

            # A warm-up: the process allocates what it needs for this many clients.
            my @warm = open_all($server, path('/hub', channels => 'quiet'));
            $server->stats_ok(sub { $_[0]{streams} == $CLIENTS }, 'the streams of the warm-up are open');
            $_->leave for @warm;
            $server->stats_ok(sub { $_[0]{streams} == 0 }, 'the streams of the warm-up have ended');
            my $before = memory($pid);

            my @clients = open_all($server, $all);
            $server->stats_ok(sub { $_[0]{streams} == $CLIENTS },
                'all clients that begin with the history have a stream');
            at_most_ok(memory($pid) - $before, 'clients that begin with the history need little memory');
            $_->leave for @clients;
            $server->stats_ok(sub { $_[0]{streams} == 0 }, 'the streams of clients that have left end');

            @clients = open_all($server, path('/hub', patterns => '**'), $first);
            $server->stats_ok(sub { $_[0]{streams} == $CLIENTS }, 'all clients that resume have a stream');
            at_most_ok(memory($pid) - $before, 'clients that resume need little memory');
            my $reader = Testing::Client->stream($server->port, path('/hub', channels => 'quiet'));
            $server->publish(channel => 'quiet');
            ok $reader->read_until(qr/^data: 1\b/m), 'a client that reads receives an event meanwhile';

            $server->ask('/drain', seconds => 0.5);
            my $most = 0;
            my $look = sub { my $now = memory($pid); $most = $now if $now > $most; return $now };
            wait_until($DEADLINE, sub { $look->(); $reader->read_until(qr/\z.^/, 0.01); $reader->ended });
            ok $reader->ended, 'a drain ends the stream of the client that reads';
            for (1 .. 50) { $look->(); sleep 0.02 }
            at_most_ok($most - $before, 'a drain needs little memory for clients that do not read');

            kill TERM => $pid;
            ok wait_until($DEADLINE, sub { !$look->() }), 'the process ends' if $name ne 'uWSGI'; # its master continues
            at_most_ok($most - $before, 'the end of the process needs little memory');
            $_->leave for @clients;
        };
    }
}

done_testing;
