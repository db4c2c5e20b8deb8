# When callbacks run on servers that block: at the methods of hubs, at requests through the middleware, and in an idle worker
# that has asked for a signal.

use lib 't/lib';
use Testing qw(native);
use EventSource::Hub;
use EventSource::XS;
use IO::Socket::INET;
use Plack::App::EventSource::Connection;
use Plack::Middleware::EventSource;
use POSIX       ();
use Time::HiRes ();
use Testing::Server;
use Testing::Fork qw(in_child);
use Testing::StreamPair;

my $hub = EventSource::Hub->new;

# A connection over a pair of sockets, and its client.
sub pair {
    my ($stream, $client) = Testing::StreamPair->open(@_);
    return (Plack::App::EventSource::Connection->new(stream => $stream), $client);
}

# Ends a stream and waits until the reactor has queued the end. Returns a reference to the number of calls of its callback.
sub ended {
    my ($conn, $client) = pair();
    my $told = 0;
    $conn->on_close(sub { $told++ });
    my $set = '';
    vec($set, EventSource::XS->notify_fd, 1) = 1;
    $client->leave;
    wait_until(sub { select my $ready = $set, undef, undef, 0 }) or die "the end is not queued\n";
    return \$told;
}

my %METHOD = (
    publish     => sub { $hub->publish(news => 'x') },
    stats       => sub { $hub->stats },
    subscribers => sub { $hub->subscribers('news') },
    epoch       => sub { $hub->epoch },
    serve       => sub { my ($conn) = pair(); $hub->serve($conn, 'news') },
    subscribe   => sub { my ($conn) = pair(); $hub->subscribe($conn, 'news') },
    drain       => sub { EventSource::Hub->new->drain(0) },
);
for my $method (sort keys %METHOD) {
    subtest "the method $method of a hub runs queued callbacks" => sub {
        my $told = ended();
        is $$told, 0, 'the callback is queued';
        $METHOD{$method}->();
        is $$told, 1, 'the callback has run';
        my $later = 0;
        EventSource::XS->later(sub { $later++ });
        $METHOD{$method}->();
        is $later, 1, 'a callback of later has run too';
    };
}

subtest 'publish returns the id of its event, whatever the callbacks do' => sub {
    my $told = ended();
    my @ids;
    my $text = 'first';
    EventSource::XS->later(sub { $text = 'changed'; push @ids, $hub->publish(news => 'from a callback') });
    my $id = $hub->publish(news => $text);
    is scalar @ids, 1, 'the callback has published';
    my ($first) = $id =~ /-(\d+)\z/;
    is $ids[0] =~ /-(\d+)\z/ ? $1 : undef, $first + 1, 'the event of the callback comes after the event';
    is $hub->publish(news => {id => 'own', data => 'x'}), 'own', 'publish returns an id of the application';
};

subtest 'callbacks do not run inside callbacks' => sub {
    my $told = ended();
    my @order;
    EventSource::XS->later(
        sub {
            EventSource::XS->later(sub { push @order, 'second' });
            $hub->publish(news => 'x');
            push @order, 'first';
        }
    );
    $hub->publish(news => 'y');
    is_deeply \@order, ['first'], 'publish in a callback runs no other callback';
    $hub->publish(news => 'z');
    is_deeply \@order, ['first', 'second'], 'the next publish runs it';
};

subtest 'an exception of a callback does not reach publish' => sub {
    EventSource::XS->later(sub { die "on purpose\n" });
    my @warned;
    local $SIG{__WARN__} = sub { push @warned, @_ };
    local ($@, $!, $?) = ('mine', 2, 3);
    EventSource::XS->later(sub { system 'false' });
    ok $hub->publish(news => 'x'), 'publish returns the id';
    is_deeply \@warned,         ["EventSource::XS: a callback died: on purpose\n"], 'it is a warning';
    is_deeply [$@, $! + 0, $?], ['mine', 2, 3], 'the variables of the caller are unchanged';
};

subtest 'a child has no callbacks of its parent to run' => sub {
    my $told  = ended();
    my $ended = in_child(sub { $hub->publish(news => 'x'); return $$told });
    is $ended->(), 0, 'publish in the child runs none';
    $hub->publish(news => 'x');
    is $$told, 1, 'publish in the parent runs it';
};

subtest 'the middleware runs callbacks before and after the application' => sub {
    my $told;
    my @seen;
    my $inner = sub {
        push @seen, $$told;
        EventSource::XS->later(sub { push @seen, 'later' });
        return ['the response'];
    };
    my $app = Plack::Middleware::EventSource->wrap($inner);
    $told = ended();
    is_deeply $app->({}), ['the response'], 'the response is passed on';
    is_deeply \@seen,     [1, 'later'],     'callbacks run on both sides';
};

subtest 'a push that waits runs no callback when a signal arrives' => sub {
    my ($conn, $client) = pair(is_loop => 0, on_full => 'block', max_buffered => 100_000);
    EventSource::XS->notify_signal('USR1');
    my ($told, $during) = (ended(), 0);
    my ($rings, $is_pushing) = (0, 0);
    local $SIG{ALRM} = sub { $rings++; kill USR1 => $$; $hub->publish(news => 'x'); $during++ if $$told };
    Time::HiRes::setitimer(Time::HiRes::ITIMER_REAL(), 0.02, 0.02);
    my $reader = fork;
    die "fork: $!" if !defined $reader;
    if (!$reader) { Time::HiRes::sleep(0.3); $client->read_all(2); POSIX::_exit(0) }
    $conn->push('x' x 60_000) for 1 .. 50;
    Time::HiRes::setitimer(Time::HiRes::ITIMER_REAL(), 0);
    cmp_ok $rings, '>', 1, 'handlers of signals run during the pushes';
    waitpid $reader, 0;
    EventSource::XS->notify_signal(undef);
    pass 'the process lives';
};

subtest 'notify_signal' => sub {
    for my $name (qw(KILL STOP SEGV CHLD TERM nothing), '') {
        my $line = __LINE__ + 1;
        ok !eval { EventSource::XS->notify_signal($name); 1 }, "SIG$name is refused";
        is $@->code, 'invalid', 'the error has the code invalid';
        like "$@", qr/takes the name of a signal: URG.* at \Q${\__FILE__}\E line $line\.$/, 'it names the alternatives';
    }
    {
        local $SIG{USR2} = sub { };
        ok !eval { EventSource::XS->notify_signal('USR2'); 1 }, 'a signal with a handler is refused';
        is $@->code, 'state', 'the error has the code state';
    }
    EventSource::XS->notify_signal;
    EventSource::XS->notify_signal('URG');
    my $told = ended();
    ok wait_until(sub { $$told }), 'a callback runs though the program only sleeps';
    EventSource::XS->notify_signal('USR1');
    ok !$SIG{URG} || $SIG{URG} eq 'DEFAULT', 'the signal before has no handler any more';
    $told = ended();
    ok wait_until(sub { $$told }), 'another signal does it too';
    {
        # The default of SIGUSR1 would end the process.
        local $SIG{USR1} = 'DEFAULT';
        $told = ended();
        Time::HiRes::sleep(0.5);
        is $$told, 0, 'a signal whose handler was removed is not sent';
    }
    EventSource::XS->dispatch;
    EventSource::XS->notify_signal(undef);
    $told = ended();
    ok !$SIG{USR1} || $SIG{USR1} eq 'DEFAULT', 'undef removes the handler';
    EventSource::XS->dispatch;
};

# A request that comes in pieces, while the streams of its worker end and the reactor may send signals. The pauses are longer
# than the time until the first signal.
sub slow_request_ok {
    my $run   = shift;
    my @kept  = map { $run->get('/keep') } 1 .. 5;
    my @pids  = map { $_->read_until(qr/data: kept by (\d+)/) ? $_->body =~ /kept by (\d+)/ : () } @kept;
    my $stays = pop @kept;
    is scalar @pids, 5, 'streams begin';
    local $SIG{PIPE} = 'IGNORE';
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $run->port) or die "connect: $@";
    for my $piece ("POST /length HTTP/1.0\r\nHost: a\r\n", "Content-Length: 6\r\n\r\n", 'abc', 'def') {
        syswrite $socket, $piece;
        (shift @kept)->leave;
        Time::HiRes::sleep(0.25);
    }
    like do { local $/; readline $socket }
        // '', qr/\r\n\r\n6\z/, 'a slow request is answered';
    is $run->ask('/plain'), "plain $pids[-1]", 'the worker lives';
    $stays->leave;
    return;
}

# Each has one worker. uWSGI waits outside of perl, so a signal of perl is noticed at its next request.
my @SERVERS = (
    ['HTTP::Server::PSGI' => 'URG'],
    ['Starlet' => 'URG',  workers => 1],
    ['uWSGI'   => 'URG',  workers => 1],
    ['uWSGI'   => 'USR2', workers => 1, args => [qw(--lazy-apps)]],
);
for (@SERVERS) {
    my ($name, $signal, %option) = @$_;
    subtest "$name $signal" => sub {
        my %env = (CALLBACKS_MIDDLEWARE => 1, CALLBACKS_SIGNAL => $signal);
        my $run = Testing::Server->start($name, 't/data/callbacks.psgi', journal => 1, env => \%env, %option);
        for my $round (1 .. 3) {
            my $client = $run->get('/keep');
            ok $client->read_until(qr/data: kept by (\d+)/), 'a stream begins';
            my ($worker) = $client->body =~ /kept by (\d+)/;
            $client->leave;
            $run->journal_ok($client, qr/^closed by client in $worker$/m, 'the idle worker runs on_close');
            is $run->ask('/plain'), "plain $worker", 'the same worker answers the next request';
        }
        is $run->ask('/signals'), 'sent', 'the application gets a signal of its own';
        ok wait_until(sub { $run->journal({tag => 'ALRM'}) =~ /^in/m }), 'its handler runs'
            if $name ne 'uWSGI';
        slow_request_ok($run);
        unlike $run->log, qr/sends no signal/, 'no warning';
    };

    subtest "$name without a signal" => sub {
        my $run    = Testing::Server->start($name, 't/data/callbacks.psgi', journal => 1, %option);
        my $client = $run->get('/keep');
        ok $client->read_until(qr/data: kept/), 'a stream begins';
        $client->leave;
        wait_until(sub { $run->ask('/publish'); $run->journal($client) =~ /^closed/m });
        like $run->journal($client), qr/^closed by client/m, 'on_close runs at a request that publishes';
    };
}

for my $args ([], ['--preload-app']) {
    subtest "Starman @$args takes an interrupted read for an error: it is sent no signal" => sub {
        my %env   = (CALLBACKS_MIDDLEWARE => 1, CALLBACKS_SIGNAL => 'USR2');
        my %start = (journal => 1, env => \%env, workers => 1, args => $args);
        my $run   = Testing::Server->start('Starman', 't/data/callbacks.psgi', %start);
        slow_request_ok($run);
        my $client = $run->get('/keep');
        ok $client->read_until(qr/data: kept/), 'a stream begins';
        $client->leave;
        wait_until(sub { $run->ask('/plain'); $run->journal($client) =~ /^closed/m });
        like $run->journal($client), qr/^closed by client/m, 'on_close runs at a request';
        is scalar(() = $run->log =~ /notify_signal sends no signal on this server \(Starman\)/g), 1, 'one warning';
    };
}

subtest 'HTTP::Server::PSGI with TLS, where a signal would end a handshake, is sent none' => sub {
    my %env    = (CALLBACKS_MIDDLEWARE => 1, CALLBACKS_SIGNAL => 'URG');
    my $server = Testing::Server->start('HTTP::Server::PSGI', 't/data/callbacks.psgi', env => \%env, tls => 1);
    for (1, 2) { like $server->ask('/plain'), qr/\Aplain/, 'a request is answered' }
    is scalar(() = $server->log =~ /sends no signal on this server \(HTTP::Server::PSGI\)/g), 1, 'one warning';
};

subtest 'Starman with the middleware and without a signal' => sub {
    my %start  = (journal => 1, env => {CALLBACKS_MIDDLEWARE => 1}, workers => 1);
    my $run    = Testing::Server->start('Starman', 't/data/callbacks.psgi', %start);
    my $client = $run->get('/keep');
    ok $client->read_until(qr/data: kept/), 'a stream begins';
    $client->leave;
    wait_until(sub { $run->ask('/plain'); $run->journal($client) =~ /^closed/m });
    like $run->journal($client), qr/^closed by client/m, 'on_close runs at a request for something else';
};

done_testing;
