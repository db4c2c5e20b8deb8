# A flood of clients that keep their sockets open: descriptors stay free, so no stream falls back to the server's writer,
# ordinary requests are answered, and each refused client receives a complete response that tells it to come back.

use lib 't/lib';
use Testing;
use Testing::Client;
use Testing::Developer qw(has_command needs);
use Testing::HubServer;
use Testing::Fork         qw(in_child);
use Testing::StreamServer qw(path);
use Testing::Server       qw(subtest_once);

needs(has_command('prlimit') ? undef : 'there is no prlimit here');

my $LIMIT   = 256;      # descriptors of the server
my $CLIENTS = 600;
my $FREE    = 16;       # descriptors that stay free
my $LOOK    = 0.001;    # seconds between two counts

my @SERVERS = Testing::Server->names;

# This process needs a descriptor for each client.
system('prlimit', "--pid=$$", '--nofile=' . 2 * $CLIENTS . ':') == 0 or plan skip_all => 'too few descriptors here';

# Counts the descriptors of a process in a process of its own. Returns a sub that ends it and says how many there were at
# most.
sub watch {
    my $pid = shift;
    pipe my $end, my $ends or die "pipe: $!";
    my $watched = in_child sub {
        close $ends;
        my ($most, $set) = (0, '');
        vec($set, fileno $end, 1) = 1;
        while (!select my $ready = $set, undef, undef, $LOOK) {
            opendir my $folder, "/proc/$pid/fd" or last;
            my $count = grep { !/\A\./ } readdir $folder;
            $most = $count if $most < $count;
        }
        return $most;
    };
    close $end;
    return sub { close $ends; return $watched->() };
}

# Clients come one after another. Each is accepted, or refused with a complete response.
sub flood {
    my ($server, $path, $begins, $count) = @_;
    my (@clients, @bad);
    my %came = (accepted => 0, refused => 0);
    for my $number (1 .. $count) {
        my $client = Testing::Client->get($server->port, $path->($number));
        push @clients, $client;
        my $is_accepted = $client->read_until($begins);
        my $is_refused =
              !$is_accepted
            && $client->read_all
            && $client->complete
            && $client->status == 200
            && $client->text =~
            /\A(?::\r?\n)?(?:keepalive: [^\r\n]*\r?\n)?(?:id: [^\r\n]*\r?\n)?retry: [0-9]+\r?\n(?:\r?\n)?\z/;
        $came{$is_accepted ? 'accepted' : 'refused'}++;
        push @bad, "$number: " . ($client->status || 'no response') . ' ' . ($client->body || '')
            if !$is_accepted && !$is_refused;
        push @bad, "$number: no ordinary response" if $number % 100 == 0 && $server->ask('/plain') ne 'plain';
        last if @bad > 5;
    }
    is_deeply \@bad, [], 'each client is accepted, or refused with 200, a retry and the end';
    return (\@clients, \%came);
}

sub withstands {
    my ($server, $path, $begins, $least, $lingers) = @_;
    my $most = watch($server->stats->{pid});
    my ($clients, $came) = flood($server, $path, $begins, $CLIENTS);
    my $used = $most->();
SKIP: {
        skip 'it waits for some seconds until a client that has its response closes', 1 if $lingers;
        cmp_ok $used, '<=', $LIMIT - $FREE, "at least $FREE descriptors stay free";
    }
    cmp_ok $came->{accepted}, '>=', $least, "at least $least clients are accepted";
    note "accepted $came->{accepted}, refused $came->{refused}, at most $used descriptors";
    is $server->ask('/plain'), 'plain', 'an ordinary request is answered';
    $_->leave for @$clients;
    my $next;
    my $is_open = wait_until sub {
        $next = Testing::Client->get($server->port, $path->('next'));
        $next->read_until($begins);
    };
    ok $is_open, 'when they have left, the next client is accepted';
    return $next->leave;
}

for my $name (@SERVERS) {
    subtest "streams on $name" => sub {
        my $server = Testing::StreamServer->start($name, descriptors => $LIMIT);
        withstands($server, sub { path('/held', name => "n$_[0]") }, qr/^event: held\r\n\r\n/m, 150);
        unlike $server->journal($_), qr/native: 0/, "$_ is native" for 'n1', 'nnext';
        is $server->fell_back, 0, 'no stream falls back to the writer of the server';
    };
}

subtest_once 'more than max_streams streams that end at once' => sub {
    my $server = Testing::StreamServer->start('Starman', descriptors => $LIMIT);
    withstands($server, sub { path('/export', name => "n$_[0]", count => 1, bytes => 5) }, qr/^id: 1\r\n/m, 150);
    is $server->fell_back, 0, 'no stream falls back to the writer of the server';
};

subtest_once 'max_streams above the limit of descriptors' => sub {
    my $server = Testing::StreamServer->start('Starman', descriptors => $LIMIT);
    my $path   = sub { path('/held', name => "n$_[0]", max_streams => 100_000) };
    withstands($server, $path, qr/^event: held\r\n\r\n/m, 150);
    is $server->fell_back, 0, 'no stream falls back to the writer of the server';
};

for my $name (@SERVERS) {
    subtest "streams of a hub on $name" => sub {
        my $server = Testing::HubServer->start($name, descriptors => $LIMIT);
        withstands($server, sub { path('/hub', channels => 'a') }, qr/^id: \S+\r?\n\r?\n/m, 150);
    };
}

for my $name (Testing::Server->tested(qw(Twiggy Feersum))) {
    my $lingers = $name eq 'Feersum' && Testing::Server->has_new_feersum;
    subtest "streams of a hub on the writer of $name" => sub {
        my $server = Testing::HubServer->start($name, descriptors => $LIMIT, native => 0);
        withstands($server, sub { path('/hub', channels => 'a') }, qr/^id: \S+\r?\n\r?\n/m, 40, $lingers);
    };
    subtest "streams on the writer of $name" => sub {
        my $server = Testing::StreamServer->start($name, descriptors => $LIMIT);
        withstands $server,
            sub { path('/held', name => "n$_[0]", native => 0) },
            qr/^event: held\r\n\r\n/m,
            90, $lingers;
    };
}

done_testing;
