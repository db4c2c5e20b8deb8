# Streams on the server's writer that follow a named hub: under TLS, and behind a filter of the body. A
# process of their own copies what the hub writes, so the worker is free and they outlive it.

use lib 't/lib';
use Testing          qw(Outlive=Starman);
use Testing::Process qw(descriptors_of is_running);
use Testing::Server  qw(subtest_once);
use Testing::SlowReader;
use Testing::SideBySide qw(run_each);
use Testing::Subscriber qw(events);
use List::Util          qw(max);
use Time::HiRes         qw(sleep time);

my $SLOW_READS = 4.5;    # seconds, some timeouts of /patient

# Each row: the server, the path, whether it has TLS, and the signal that replaces workers.
my @RUNS = (
    ['Starman',            '/hub',      1, 'HUP'],
    ['Starman',            '/filtered', 0, 'HUP'],
    ['Starlet',            '/filtered', 0, 'HUP'],
    ['uWSGI',              '/filtered', 0, 'HUP'],
    ['HTTP::Server::PSGI', '/filtered', 0, undef],
    ['HTTP::Server::PSGI', '/hub',      1, undef],
    ['Twiggy',             '/filtered', 0, undef],
    ['Feersum',            '/filtered', 0, undef],
);

# Starts a server with one worker, which could serve one stream as it was.
sub start {
    my ($name, $is_tls, %option) = @_;
    return Testing::Outlive->start($name, by_hand => 1, workers => 1, start => {tls => $is_tls}, %option);
}

sub tls {
    my $self = shift;
    return $self->{server}->certificate ? (certificate => $self->{server}->certificate) : ();
}

sub ask {
    my ($self, $path) = @_;
    return Testing::Client->ask($self->{server}->port, $path, tls($self))->body;
}

sub has_relays {
    my ($self, $count) = @_;
    return wait_until($DEADLINE, sub { $self->relays == $count });
}

sub published {
    my ($self, $stream, $data) = @_;
    my $id = $self->hub->publish(news => $data);
    return $stream->{client}->read_until(qr/^id: \Q$id\E\r?\n\r?\n/m);
}

# A client that lags behind a send buffer of some megabytes reads a little at a time: for long, its socket has no room.
sub reads_slowly {
    my ($name, $relays) = @_;
    my $self   = start($name, 0, env => {HUB_RELAYS => $relays});
    my $client = Testing::SlowReader->get($self->{server}->port, '/patient', segment => 32_767);
    my $hub    = $self->hub;
    ok $client->read_until(qr/^id: /m), 'a stream begins';
    ok has_relays($self, $relays),      'it has a process, if there may be one';
    $hub->publish(news => 'x' x 20_000) for 1 .. 250;
    my $longest = 0;
    my $last    = my $began = time;

    while ($last - $began < $SLOW_READS) {
        sleep 0.2;
        $longest = max($longest, time - $last);
        $last    = time;
        sysread $client->{socket}, my $bytes, 16_384 or last;
    }
SKIP: {
        skip 'this process was stopped for too long', 2 if $longest > 1;
        is $hub->subscribers('news'), 1, 'it is not ended';
        ok wait_until($DEADLINE, sub { !$hub->subscribers('news') }), 'it is ended when it reads nothing more';
    }
    $client->leave;
    $self->end;
    return;
}

# At the same time, because they mostly wait. Each row: the server, and how many processes of relays there may be.
my %READS =
    map { ("$_->[0], a client that reads slowly, in " . ($_->[1] ? 'a process' : 'the worker') => $_) } ['Starman', 1],
    ['Starman', 0], ['Twiggy', 1], ['Twiggy', 0];
run_each([grep { Testing::Server->tested($READS{$_}[0]) } sort keys %READS] => sub { reads_slowly(@{$READS{$_[0]}}) });

for my $row (grep { Testing::Server->tested($_->[0]) } @RUNS) {
    my ($name, $path, $is_tls, $reload) = @$row;
    subtest "$name, $path" . ($is_tls ? ', TLS' : '') => sub {
        my $self   = start($name, $is_tls);
        my %tls    = tls($self);
        my $worker = $self->open($path, %tls)->{worker};
        is ask($self, '/plain'), 'plain', 'the worker is free';
        ok has_relays($self, 1), 'its stream has a process';
        my $before = descriptors_of($worker);
        $self->open($path, %tls) for 1 .. 2;
        ok has_relays($self, 3),                                              'each stream has a process';
        ok wait_until($DEADLINE, sub { descriptors_of($worker) <= $before }), 'the worker has no descriptor of it';
        $self->start_publisher;
        ok $self->let_publish, 'there is a publisher';

        for my $signal ($reload ? (qw(SEGV KILL), $reload) : ()) {
            my $worker = $self->{clients}[-1]{worker};
            kill $signal => $signal eq $reload ? $self->{server}->pid : $worker;
            ok wait_until($DEADLINE, sub { !is_running($worker) }), "$signal: the worker has ended";
            ok $self->let_publish,                                  "$signal: events are published";
            $self->open($path, %tls);
        }
        $self->check_streams('workers that end');
        ok has_relays($self, scalar @{$self->{clients}}), 'all streams have a process';
        $self->{server}->restart('KILL');
        my $left = pop @{$self->{clients}};
        my $rest = @{$self->{clients}};
        $left->{client}->leave;
        ok has_relays($self, $rest), 'a process ends when its client leaves';
        ok wait_until($DEADLINE, sub { $self->hub->subscribers('news') == $rest }), 'the hub keeps nothing of it';
        $self->open($path, %tls);
        $self->start_publisher;
        ok $self->let_publish, 'events are published';
        $self->check_streams('a server that is started anew');
        $self->end(%tls);
        ok has_relays($self, 0), 'nothing is left';
    };
}

subtest_once 'workers that are replaced after some requests' => sub {
    my $self    = start('Starman', 1, endless => [qw(--max-requests 3)]);
    my @streams = map { $self->open('/hub', tls($self)) } 1 .. 5;
    my %workers = map { ($_->{worker} => 1) } @streams;
    cmp_ok scalar keys %workers, '>', 1, 'several workers have come';
    ok wait_until($DEADLINE, sub { ask($self, '/plain'); !is_running($streams[0]{worker}) }), 'the first one has gone';
    is scalar(grep { published($self, $_, 'event') } @streams), 5, 'all streams live';
    $self->end;
};

subtest_once 'what the worker does with a stream' => sub {
    my $self   = start('Starman', 0);
    my $stream = $self->open('/served');
    my ($client, $worker) = @$stream{qw(client worker)};
    ok $client->read_until(qr/^data: open\r\n\r\n/m), 'the handler continues when the stream is passed on';
    ok published($self, $stream, 'published'),        'the stream follows the hub';
    is ask($self, "/push?$worker,later"), 1, 'the worker pushes';
    ok $client->read_until(qr/^data: later\r\n/m), 'the client receives it';
    is_deeply [map { $_->{data} } grep { ($_->{event} // '') ne 'position' } events($client->text)],
        [qw(before open published later)], 'what was pushed and published has arrived in order';
    is ask($self, "/reasons?$worker"), '',       'the stream is open';
    is ask($self, "/close?$worker"),   'closed', 'the worker closes it';
    ok $client->read_all, 'the stream has ended';
    ok $client->complete, 'its end is the end of the response';
    like $client->body, qr/^: [0-9]+ bytes\n\z/m, 'and of the body';
    ok wait_until($DEADLINE, sub { ask($self, "/reasons?$worker") eq 'application' }), 'the worker is told of the end';
    is ask($self, "/push?$worker,late"), 0, 'a push is not taken';
    $client = $self->open('/served')->{client};
    $client->leave;
    ok wait_until($DEADLINE, sub { ask($self, "/reasons?$worker") eq 'application client' }),
        'the worker is told that a client has left';
    $client = Testing::Client->get($self->{server}->port, '/dies');
    ok $client->read_all, 'a stream ends whose handler dies';
    ok $client->complete, 'its response is complete';
    ok wait_until($DEADLINE, sub { $self->{server}->log =~ /the handler died: on purpose/ }), 'the log says so';
    is ask($self, '/plain'), 'plain', 'the worker is as it was';
    ok has_relays($self, 0), 'no process is left';
    $self->end;
};

subtest_once 'clients that read nothing' => sub {
    my $self  = start('Starman', 0);
    my $slow  = Testing::SlowReader->get($self->{server}->port, '/filtered');
    my $never = Testing::SlowReader->get($self->{server}->port, '/impatient');
    ok $_->read_until(qr/^id: /m), 'a stream begins' for $slow, $never;
    ok has_relays($self, 2), 'each has a process';
    my $hub = $self->hub;
    my @ids = map { $hub->publish(news => $_ . 'x' x 20_000) } 1 .. 300;
    ok has_relays($self, 1),                                'a client that takes nothing for the timeout is cut off';
    ok $slow->read_until(qr/^id: \Q$ids[-1]\E\r?\n\r?\n/m), 'it receives the last event when it reads';
    is_deeply [map { $_->{id} } grep { length($_->{data} // '') > 20_000 } events($slow->text)], \@ids,
        'it receives all events in order';
    $_->leave for $slow, $never;
    $self->end;
};

subtest_once 'a client that ends TLS only' => sub {
    my $self   = start('Starman', 1);
    my $stream = $self->open('/hub', tls($self));
    my $socket = $stream->{client}{socket};
    syswrite $socket, 'junk';
    ok published($self, $stream, 'event'), 'what the client says is dropped';
    $socket->stop_SSL(SSL_fast_shutdown => 1);
    ok has_relays($self, 0),                                            'the process ends';
    ok wait_until($DEADLINE, sub { !$self->hub->subscribers('news') }), 'the hub keeps nothing of it';
    $self->end;
};

subtest_once "a hub process that ends" => sub {
    my $self    = start('Starman', 1);
    my @streams = map { $self->open('/hub', tls($self)) } 1 .. 2;
    kill KILL => $self->{hub}->pid;
    for my $stream (@streams) {
        ok $stream->{client}->read_all, 'a stream ends';
        ok $stream->{client}->complete, 'its response is complete';
        like $stream->{client}->text, qr/^retry: [0-9]+\r?\n\z/m, 'its last block is a retry';
    }
    ok has_relays($self, 0), 'no process is left';
    $_->{client}->leave for @streams;
    $self->{server}->stop;
};

subtest_once "a hub process that ends in the middle of an event" => sub {
    my $self = start('Starman', 0);
    my $slow = Testing::SlowReader->get($self->{server}->port, '/filtered');
    ok $slow->read_until(qr/^id: /m), 'a stream begins';
    $self->hub->publish(news => 'x' x 4_000_000);
    ok $slow->read_until(qr/x{1000}/), 'an event arrives in part';
    kill KILL => $self->{hub}->pid;
    ok $slow->read_all,  'the stream ends';
    ok !$slow->complete, 'its response is cut';
    like $slow->text, qr/x\z/, 'so that nothing becomes part of the event';
    ok has_relays($self, 0), 'no process is left';
    $slow->leave;
    $self->{server}->stop;
};

subtest_once 'a server that is stopped' => sub {
    my $self   = start('Starman', 1, grace => 2);
    my $stream = $self->open('/hub', tls($self));
    $self->{server}->stop;
    ok published($self, $stream, 'event'), 'its stream lives on';
    ok $stream->{client}->read_all,        'it ends when the grace is over';
    ok $stream->{client}->complete,        'its response is complete';
    like $stream->{client}->text, qr/^retry: [0-9]+\r?\n\r?\n\z/m, 'it ends as a native one';
    ok has_relays($self, 0), 'no process is left';
    $self->{hub}->stop;
};

subtest_once 'more streams than processes' => sub {
    my $self  = start('Starman', 1, workers => 3, env => {HUB_RELAYS => 1});
    my $first = $self->open('/hub', tls($self));
    my $other = $self->open('/hub', tls($self));
    is $self->relays, 1, 'one stream has a process';
    like $self->{server}->log, qr/occupies its worker: there are 1 processes of relays already \(max_relays\)/,
        'the log says why the other one has none';
    ok published($self, $_, 'event'), 'a stream has the event' for $first, $other;
    kill KILL => $other->{worker};
    ok $other->{client}->read_all, 'the other one ends with its worker';
    $first->{client}->leave;
    ok has_relays($self, 0), 'the first one leaves';
    $other = $self->open('/hub', tls($self));
    is $self->relays, 1, 'there is room for a process again';
    $self->end;
};

done_testing;
