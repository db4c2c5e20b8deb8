# A server that blocks says once for each reason that a stream is not native, and what to do about it; any server does, if a
# middleware filters the stream, which may hold its events back.

use lib 't/lib';
use Testing;
use EventSource::XS::Adapter;
use EventSource::XS::Stream::Obstacle;
use Testing::Client;
use IO::Select         ();
use List::Util         qw(uniq);
use POSIX              ();
use Testing::Developer qw(needs_module);
use Testing::Fork      qw(fork_child);
use Testing::Server;

subtest 'each reason has a remedy' => sub {
    my @threads = ('EventSource::XS::Adapter::UWSGI' => {'psgi.multithread' => 1});
    open my $file, '<', __FILE__ or die $!;
    my $tls = bless [], 'My::SSL';
    for my $case (
        [threads   => @threads, qr/\Agive it processes instead/],
        [server    => 'EventSource::XS::Adapter' => {}, qr/: .*Starman.*uWSGI\z/],
        [encrypted => 'EventSource::XS::Adapter' => {'psgix.io' => $tls},  qr/\Alet a proxy terminate TLS\z/],
        [handle    => 'EventSource::XS::Adapter' => {'psgix.io' => []},    qr/\Aleave psgix[.]io/],
        [socket    => 'EventSource::XS::Adapter' => {'psgix.io' => $file}, qr/\Alet the server listen/],
    ) {
        my ($code, $adapter, $env, $remedy) = @$case;
        my $obstacle = $adapter->obstacle($env);
        is $obstacle->code, $code, "$obstacle: the code";
        like $obstacle->remedy, $remedy, "$obstacle: the remedy";
    }
    my $limit = EventSource::XS::Stream::Obstacle->new(limit => 'there is no socketpair: Too many');
    is_deeply [$limit->code, "$limit"], ['limit', 'there is no socketpair: Too many'],
        'a limit of the system has its text';
    my $refused = EventSource::XS::Stream::Obstacle->new(limit => 'no thread can be started; update Docker');
    is_deeply ["$refused", $refused->remedy], ['no thread can be started', 'update Docker'],
        'a text of the library may have a remedy of its own';
    like $limit->remedy, qr/\Araise the limit/, 'and the remedy of the list';
    my $other = EventSource::XS::Stream::Obstacle->new(mine => 'another reason', 'another remedy');
    is_deeply [$other->code, "$other", $other->remedy], ['mine', 'another reason', 'another remedy'],
        'an obstacle that the list does not have';
};

# Requests a stream that ends by itself. Returns what the server has logged until then.
sub after_stream {
    my ($server, $path) = @_;
    my @headers = (headers => ['Accept-Encoding' => 'gzip']);
    my $client  = Testing::Client->get($server->port, $path, @headers, certificate => $server->certificate);
    ok $client->read_all, "$path: the stream ends";
    is $client->status, 200, "$path: the status is 200";
    return warnings_of($server);
}

sub warnings_of {
    return grep { /not native|held back/ } split /\n/, $_[0]->log;
}

sub server {
    my ($name, @options) = @_;
    needs_module('Plack::Middleware::Deflater');
    return Testing::Server->start($name, 't/data/fallback.psgi', @options);
}

# What a server prints for a reason and a remedy.
sub warning {
    return
        "EventSource::XS: a stream is not native, and occupies this worker, or a process if it follows a named hub: $_[0] (native => 'quiet' silences this)";
}

my $EXCLUDE =
    "the response's body is filtered; exclude text/event-stream from the middleware that filters the body, such as Deflater"
    . ' with a content_type, or mount the stream outside of it';
my $FILTERED = warning($EXCLUDE);

for my $name ('Starman', 'Starlet', 'HTTP::Server::PSGI', 'uWSGI') {
    subtest $name => sub {
        my $server = server($name, workers => 1);
        is_deeply [after_stream($server, $_)], [], "$_: there is no warning" for qw(/native /deflated /quiet /never);
        is_deeply [after_stream($server, '/filtered')], [$FILTERED], 'a filtered body: the reason and the remedy';
        is_deeply [after_stream($server, '/filtered')], [$FILTERED], 'the same reason again: no second warning';
        is_deeply [after_stream($server, '/large')],
            [$FILTERED, warning("the response's head is too large; set fewer headers")],
            'another reason: a warning of its own';
    };
}

subtest 'each process of a server warns once' => sub {
    my $server = server('Starman', workers => 2);
    my %pid;
    eventually_ok 'two workers have warned' => sub {
        my $client = Testing::Client->get($server->port, '/filtered');
        return $client->read_all && warnings_of($server) >= 2;
    };
    after_stream($server, '/filtered') for 1 .. 4;
    is_deeply [warnings_of($server)], [$FILTERED, $FILTERED], 'there are no more warnings';
};

subtest 'a client that has left is not a reason' => sub {
    my $server = server('Starman', workers => 1);
    my $client = Testing::Client->get($server->port, '/left');
    ok wait_until(sub { $server->log =~ /waiting for the client/ }), 'the response begins';
    $client->leave(reset => 1);
    ok(Testing::Client->get($server->port, '/pid')->read_all, 'the only worker answers after the client has left');
    is_deeply [warnings_of($server)], [], 'there is no warning';
};

# With threads a response of uWSGI fails now and then ("Bad file descriptor"), of any application. A request is repeated then.
subtest 'uWSGI with threads' => sub {
    my $server = server('uWSGI', workers => 1, args => ['--threads', 2]);
    my $answer = sub {
        my $client = Testing::Client->get($server->port, $_[0]);
        return $client->read_all && ($client->status || 0) == 200;
    };
    ok wait_until(sub { $answer->('/never') }), 'a stream with native => 0 is answered';
    is_deeply [warnings_of($server)], [], 'native is 0: there is no warning';
    my $threads = warning('uWSGI has several threads; give it processes instead of threads (workers, no threads)');
    for my $time (1 .. 4) {
        ok wait_until(sub { $answer->('/native') }), 'a stream is answered';
        is_deeply [uniq warnings_of($server)], [$threads], "stream $time: a warning with the reason and the remedy";
        cmp_ok scalar(warnings_of($server)), '<=', 2, 'each thread warns once at most';
    }
};

for my $case (['Starman', 'the connection is encrypted'], ['uWSGI', "the response's head is not understood"]) {
    my ($name, $reason) = @$case;
    subtest "$name with TLS" => sub {
        my $server = server($name, workers => 1, tls => 1);
        like join("\n", after_stream($server, '/native')), qr/: $reason; [^\n]*a proxy terminate TLS [(]/,
            'the reason and the remedy';
        is + (after_stream($server, '/filtered'))[-1], $FILTERED, 'a filtered body is the reason that counts'
            if $name eq 'Starman';
    };
}

for my $name ('Twiggy', 'Feersum') {
    subtest "$name, which does not block" => sub {
        my $server = server($name);
        my $held =
            "EventSource::XS: the events of a stream may be held back: $EXCLUDE" . " (native => 'quiet' silences this)";
        is_deeply [after_stream($server, $_)], [], "$_: there is no warning" for qw(/native /large /deflated /quiet);
        is_deeply [after_stream($server, '/filtered')], [$held], 'a filtered body: the reason and the remedy' for 1, 2;
    };
}

subtest 'a hub in Plack::Test' => sub {
    needs_module('Plack::Test');
    require EventSource::Hub;
    require Plack::Test::MockHTTP;
    my $events = EventSource::Hub->new->to_app(channels => sub { 'news' });
    my $child  = fork_child sub {
        open STDERR, '>&', $_[0] or die "STDERR: $!\n";
        Plack::Test::MockHTTP->new($events)->request(HTTP::Request->new(GET => 'http://localhost/'));
    }, sub { POSIX::_exit(0) };
    ok(IO::Select->new($child->{from})->can_read($DEADLINE), 'a test that waits for ever has a line');
    kill KILL => $child->{pid};
    like readline($child->{from}), qr/Plack::Test .*Test::EventSource/, 'which says what to test with';
    waitpid $child->{pid}, 0;
};

done_testing;
