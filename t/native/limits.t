# Limits of a process: a client beyond max_streams receives a reconnection time, and a client for whom no descriptor is left
# disturbs no other.

use lib 't/lib';
use Testing;
use Testing::Client;
use Testing::Developer      qw(has_command needs);
use Testing::NumberedEvents qw(numbers);
use Testing::StreamServer   qw(on_each_server path);

sub get_limited {
    my ($server, $name, @setting) = @_;
    my $client = Testing::Client->get($server->port, path('/held', name => $name, max_streams => 3, @setting));
    $client->read_all;
    return $client;
}

on_each_server sub {
    my $server = shift;
    my @client = map { $server->stream(name => "in$_", max_streams => 3) } 1 .. 3;
    my %times;
    for my $number (1 .. 12) {
        my $one = get_limited($server, "over$number", retry => 6_000);
        is $one->status, 200, "a refused stream has the status 200" if $number == 1;
        ok $one->complete, 'a refused response is complete' or diag $one->body;
        my ($retry) = $one->body =~ /\Aretry: [0-9]+\r\nretry: ([0-9]+)\r\n\z/;
        ok defined $retry && $retry >= 6_000 && $retry <= 12_000, 'a refused response has a retry' or diag $one->body;
        is $server->journal("over$number"), '', 'the handler of a refused stream does not run';
        $times{$retry // ''}++;
    }
    cmp_ok scalar(keys %times), '>', 6, 'retry differs between refused clients';
    like get_limited($server, 'usual')->body, qr/\Aretry: (?:[23][0-9]{3}|4000)\r\n\z/,
        'retry is 2 to 4 seconds by default';
    my $stats;
    wait_until(sub { $stats = $server->stats; $stats->{native} == 3 });
    is_deeply [@$stats{qw(refused opened native)}], [13, 16, 3], 'stats counts refused, opened and native streams'
        or diag explain $stats;
    is $stats->{closed}{server},  13, 'refused streams count as closed by the server';
    is $server->push(count => 2), 6,  'pushes to the open streams are accepted';

    for my $client (@client) {
        ok $client->read_until(qr/^id: 2\r\n.*\r\n\r\n/m), 'each client receives the last event';
        is_deeply [numbers($client->text)], [1, 2], 'each client receives each event once';
    }
    shift(@client)->leave;
    $server->ended_ok('in1', 'client', 'a client leaves');
    push @client, $server->stream(name => 'next', max_streams => 3);
    is_deeply [numbers($client[-1]->text)], [], 'another client takes its slot';
    ok get_limited($server, 'again')->complete, 'a second one is refused';
    $_->leave for @client;
    $server->rests_ok;
    return $server->serves_ok;
};

subtest 'default_max_streams leaves some descriptors free' => sub {
    my @default = (
        $^X,  '-Mblib', '-MEventSource::XS::Stream::Native',
        '-e', 'print EventSource::XS::Stream::Native::default_max_streams()'
    );
    for ([24, 18], [256, 192], [1_023, 768], [1_024, 768], [1_025, 769], [4_096, 3_840]) {
        my ($limit, $expected) = @$_;
        is qx{ulimit -Sn $limit && "$default[0]" $default[1] $default[2] $default[3] '$default[4]' 2>/dev/null},
            $expected, "a limit of $limit descriptors allows $expected streams";
    }
};

sub sockets {
    my $pid = shift;
    return scalar grep { (readlink($_) // '') =~ /\Asocket:/ } glob "/proc/$pid/fd/*";
}

# Limits the process to that many free descriptors; removes the limit without a number. Feersum 1.507 closes a connection a
# moment after its client.
sub leave_free {
    my ($pid, $free) = @_;
    my $limit = 1_024;
    if (defined $free) {
        eventually_ok 'all connections are closed' => sub { sockets($pid) == 1 };
        my %used = map { m{/([0-9]+)\z} ? ($1 => 1) : () } glob "/proc/$pid/fd/*";
        $limit = 0;
        while ($used{$limit} || $free--) { $limit++ }
    }
    return system('prlimit', "--pid=$pid", "--nofile=$limit:") == 0 || die "prlimit: $?\n";
}

# Returns how a client is served when that many descriptors are free.
sub fares {
    my ($server, $free) = @_;
    my $pid = $server->stats->{pid};
    return $server->fares(sub { leave_free($pid, $free) }, sub { leave_free($pid) });
}

my $MOST = 10;

needs(has_command('prlimit') ? undef : 'there is no prlimit here');
for my $name ('HTTP::Server::PSGI', 'Twiggy', 'Feersum') {
    my %fared;
    for my $free (0 .. $MOST) {
        on_each_server([$name] => sub { push @{$fared{fares($_[0], $free)}}, $free });
    }
    next if !%fared;    # the server is not here
    note explain { $name => \%fared };
    is $fared{native}[-1], $MOST, "$name: a stream is native if $MOST descriptors are free";
    ok $fared{writer}, "$name: a stream is on the server's writer if few descriptors are free";
}

done_testing;
