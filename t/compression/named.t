# Streams of a named hub with a content coding stay decodable when a worker is killed, when the hub process is upgraded in the
# middle of a round, after a cut and a gap, and when a child pushes.

use lib 't/lib';
use Testing qw(native Server=Starman);
use Testing::Client;
use Testing::CodedClient;
use Testing::CommandLine;
use Testing::Developer  qw(has_command);
use Testing::Server     qw(path);
use Testing::SideBySide qw(run_each);
use Testing::Subscriber qw(blocks events wait_for_events);
use EventSource::XS::Request;
use JSON::PP ();
use POSIX    ();

my $BEST    = EventSource::XS::Request->coding('zstd, gzip');
my @CODINGS = ('gzip', $BEST eq 'zstd' && has_command('curl') ? 'zstd' : ());

my $DEADLINE = 20;                          # seconds
my $shell    = Testing::CommandLine->new;

sub server {
    my (%settings) = @_;
    my %hub        = (name => 'coded', idle_exit => 1, on_slow => 'gap', %settings);
    my %env        = (EVENTSOURCE_RUNTIME_DIR => $shell->folder, HUB_SETTINGS => JSON::PP::encode_json(\%hub));
    return Testing::Server->start('Starman', 't/compression/streams.psgi', env => \%env, workers => 2);
}

sub stream {
    my ($server, $coding, $path, %query) = @_;
    my $id      = delete $query{id};
    my @headers = defined $id ? ('Last-Event-ID' => $id) : ();
    my $client = Testing::CodedClient->get($server->port, path($path, %query), coding => $coding, headers => \@headers);
    $client->read_until(qr/\n\r?\n/) or die 'no block: ' . $client->body;
    is $client->header('Content-Encoding'), $coding, "the stream is coded: $coding";
    return $client;
}

# Publishes numbered events, one after the other. Returns their ids.
sub publish {
    my ($server, @numbers) = @_;
    return map { $server->ask('/publish', from => $_, rows => 50) } @numbers;
}

sub numbers {
    return map { $_->{data} =~ /\Anumber ([0-9]+)/ ? $1 : () } events($_[0]);
}

sub has_ok {
    my ($client, $numbers, $name) = @_;
    wait_until($DEADLINE, sub { $client->read_until(qr/\z.^/, 0.01) || numbers($client->body) >= @$numbers });
    return is_deeply [numbers($client->body)], $numbers, $name;
}

sub survives_worker {
    my ($server, $coding) = @_;
    my @clients = map { stream($server, $coding, '/hub') } 1 .. 4;
    publish($server, 1 .. 3);
    has_ok($_, [1 .. 3], 'the events arrive') for @clients;
    my $worker = JSON::PP::decode_json($server->ask('/stats'))->{worker};
    kill KILL => $worker;
    ok wait_until($DEADLINE, sub { !kill 0 => $worker }), 'a worker is killed';
    publish($server, 4 .. 6);
    has_ok($_, [1 .. 6], 'the streams of all workers continue') for @clients;
    return;
}

sub survives_upgrade {
    my ($server, $coding) = @_;
    my @early = map { stream($server, $coding, '/hub') } 1, 2;
    publish($server, 1 .. 3);
    has_ok($_, [1 .. 3], 'the events arrive') for @early;
    my $pid = $shell->connect('coded', autostart => 0)->pid;
    for my $round (1, 2) {
        my $upgraded = $shell->run(qw(hub upgrade coded));
        is_deeply [@$upgraded{qw(code err)}], [0, ''], 'the hub process is upgraded';
        like $upgraded->{out}, qr/: 2 streams stay, 0 clients reconnect$/, 'both streams stay';
        my $from = 3 * $round + 1;
        publish($server, $from .. $from + 2);
        has_ok($_, [1 .. $from + 2], 'the streams continue') for @early;
    }
    is $shell->connect('coded', autostart => 0)->pid, $pid, 'in the same process';
    my $late = stream($server, $coding, '/hub');
    publish($server, 10 .. 12);
    has_ok($late, [10 .. 12], 'a later stream');
    has_ok($_,    [1 .. 12],  'the earlier ones') for @early;
    ends_ok($server, $late, @early);
    return;
}

# Drain ends streams.
sub ends_ok {
    my ($server, @clients) = @_;
    is_deeply $shell->run(qw(hub drain coded --within 0)), {code => 0, out => '', err => ''}, 'the hub drains';
    for my $client (@clients) {
        ok $client->read_all, 'drain ends the stream';
        like $client->body, qr/^retry: [0-9]+\n(?:(?:data: \n)?\n)?\z/m, 'with a reconnection time';
        ok $client->is_whole, 'and a correct end of the coding';
    }
    return;
}

# What is decoded of the beginning of a response is the beginning of the text, to the last byte that was needed.
sub resumes {
    my ($server, $coding) = @_;
    my $client = stream($server, 'gzip', '/hub');
    publish($server, 1 .. 8);
    has_ok($client, [1 .. 8], 'the events arrive');
    my $coded = $client->coded;
    my $text  = $client->body;
    $client->leave;
    for my $part (0.3, 0.5, 0.8, 0.97) {
        my $cut  = Testing::CodedClient->decoded(substr $coded, 0, $part * length $coded);
        my ($id) = reverse map { $_->{id} // () } blocks($cut);
        my $rest = stream($server, $coding, '/hub', id => $id);
        my @had  = numbers($cut);
        has_ok($rest, [@had + 1 .. 8], 'a client that was cut after ' . @had . ' events receives the rest');
    }
    return;
}

sub has_state {
    my ($server, $coding) = @_;
    $server->ask('/publish', channel => 'state', data => "state of $_", key => $_) for qw(a b c a);
    my $client = stream($server, $coding, '/state', channels => 'state');
    ok $client->read_until(qr/^data: state of b(?:.*\n)+data: state of c(?:.*\n)+data: state of a\n/m),
        'the state arrives';
    $server->ask('/publish', channel => 'state', data => 'new', key => 'a');
    ok $client->read_until(qr/^data: new\n/m), 'and what follows';
    return;
}

sub tells_of_gaps {
    my ($server, $coding) = @_;
    my $slow = stream($server, $coding, '/hub');
    my $fast = stream($server, $coding, '/hub');
    publish($server, 1);
    has_ok($_, [1], 'the first event arrives') for $slow, $fast;
    my $last;
    for my $batch (1 .. 15) {    # random text, which does not become small: 3 MB
        $last = $server->ask('/noise', count => 20, bytes => 10_000);
        $fast->read_until(qr/^id: \Q$last\E\n/m) or last;
    }
    $server->ask('/publish', data => 'the last one');
    ok $slow->read_until(qr/^data: the last one\n/m), 'a client that has not read receives the last event' or return;
    my @gaps = grep { ($_->{event} // '') eq 'gap' } events($slow->body);
    cmp_ok scalar @gaps, '>', 0, 'after a gap';
    ok $fast->read_until(qr/^data: the last one\n/m), 'a client that reads receives it';
    ends_ok($server, $slow, $fast);
    return;
}

sub has_child {
    my ($server, $coding) = @_;
    my $fifo = $shell->folder . "/fifo.$coding";
    POSIX::mkfifo($fifo, 0600) or die "$fifo: $!\n";
    my $client = stream($server, $coding, '/spawned', fifo => $fifo);
    open my $lines, '>', $fifo or die "$fifo: $!\n";
    $lines->autoflush(1);
    for my $text (qw(one two three)) {
        print {$lines} "$text\n" or die "$fifo: $!\n";
        ok $client->read_until(qr/^data: $text\r\n\r\n/m), "what the child pushes arrives: $text";
    }
    close $lines;
    ok $client->read_all, 'the stream ends with the child';
    is_deeply [map { $_->{data} } events($client->body)], [qw(before one two three)], 'all that was pushed, in order';
    return;
}

# The relay of a stream on the server's writer, which the worker or a process of its own continues.
sub is_relayed {
    my ($server, $coding) = @_;
    my $client = Testing::Client->get($server->port, '/filtered', headers => ['Accept-Encoding' => $coding]);
    $client->read_until(qr/^id: /m);
    is_deeply [$client->header('Content-Encoding')], [], "Accept-Encoding: $coding: no coding";
    publish($server, 1 .. 3);
    has_ok($client, [1 .. 3], 'the events can be read as they are');
    return;
}

my %CASE = (
    'a relay'         => [\&is_relayed],
    'a killed worker' => [\&survives_worker],
    'an upgrade'      => [\&survives_upgrade],
    'a cut'           => [\&resumes],
    'state'           => [\&has_state],
    'a gap'           => [\&tells_of_gaps, keep_history => {events => 100}],
    'a child'         => [\&has_child],
);

run_each [sort keys %CASE] => sub {
    my ($check, %settings) = @{$CASE{$_[0]}};
    for my $coding (@CODINGS) {
        my $server = server(%settings);
        subtest "$_[0], $coding" => sub { $check->($server, $coding) };
        $server->stop;
        $shell->run(qw(hub stop coded));
    }
};

done_testing;
