# Tickets at the hub process: behind a real nginx it serves the streams of clients that have one, as the application would, and
# lets the application answer every other request. And what hostile clients send to its socket.

use lib 't/lib';
use Testing qw(native Nginx);
use EventSource::Hub;
use EventSource::Hub::Process;
use IO::Socket::UNIX;
use Testing::Client;
use Testing::Developer qw(needs);
use Testing::Process;
use Testing::Program;
use Testing::Proxy;
use Testing::Redis;
use Testing::Server;

Testing->need('named_hubs');

my $folder = new_folder;
my ($socket, $http) = map { "$folder/$_" } qw(hub.sock http.sock);

# Starts the hub process with more options, and waits until it listens.
sub hub_process {
    my @option  = (qw(--name shop --socket), $socket, '--http', "unix:$http", qw(--grace 60 --idle-exit 60), @_);
    my $process = Testing::Program->new('eventsource-hub')->run({}, EventSource::Hub::Process->program, 'run', @option);
    ok wait_until($DEADLINE, sub { -S $http && IO::Socket::UNIX->new(Peer => $http) }), 'the hub process listens';
    return $process;
}

my $process = hub_process();
my $server  = Testing::Server->start('Starman', 't/data/tickets.psgi', workers => 1, env => {HUB_SOCKET => $socket});
my $nginx   = Testing::Nginx->start($server, [tickets => $http]);
my $hub = EventSource::Hub->new(name => 'shop', socket => $socket, position => 'id', start => 'oldest', autostart => 0);

sub asked { return Testing::Client->ask($server->port, '/asked')->body }

# Opens a stream, behind nginx or at the hub process, and waits for its head.
sub get {
    my ($path, %header) = @_;
    my $at     = delete $header{at} || $nginx->port;
    my $client = Testing::Client->get($at, $path, headers => [%header]);
    $client->read_head;
    return $client;
}

# The Cookie of the next request of a client.
sub cookies {
    my ($client, @more) = @_;
    my ($ticket) = ($client->header('Set-Cookie') || '') =~ /\A([^;]+)/;
    return join '; ', @more, defined $ticket ? $ticket : ();
}

# Opens a stream by the application, and returns the cookies of its next request, and its client.
sub cookies_of {
    my ($path, $user, %header) = @_;
    my $client = get($path, Cookie => "session=$user", %header);
    return (cookies($client, "session=$user"), $client);
}

# Opens a stream by the application, and leaves it. Returns the headers with which its client comes back.
sub left_by {
    my $user = shift;
    my ($cookies, $first) = cookies_of('/events', $user);
    ok $first->read_until(qr/^id: /m), 'a stream of the application';
    my $id = ($first->text =~ /^id: (.*?)\r?$/mg)[-1];
    $first->leave;
    return (Cookie => $cookies, 'Last-Event-ID' => $id);
}

# How often the application is asked by a request, and its client.
sub asked_by {
    my $before = asked();
    my $client = get(@_);
    return (asked() - $before, $client);
}

# The head of a response as a hash.
sub head_of {
    my $client = shift;
    my @fields = @{$client->headers};
    my %head;
    while (my ($name, $value) = splice @fields, 0, 2) { $head{lc $name} = $value }
    return \%head;
}

subtest 'a client comes back' => sub {
    my %back = left_by('ann');
    $hub->publish(ann => 'meanwhile');
    my ($count, $again) = asked_by('/events', %back);
    is $count,         0,   'it is not asked for the next one';
    is $again->status, 200, 'which is a stream';
    ok $again->read_until(qr/^data: meanwhile\n/m), 'it has missed nothing';
    like $again->body, qr/\A(?::[^\n]*\n)*keepalive: 7\n/, 'it says its keepalive';
    like $again->body, qr/^retry: 7\d\d\d$/m,              'and its reconnection time';
    my $new = $hub->publish(news => 'new');
    ok $again->read_until(qr/^id: \Q$new\E\n/m), 'it has all its channels';
    my ($id_in_query, $by_query) = asked_by("/events?lastEventId=$back{'Last-Event-ID'}", Cookie => $back{Cookie});
    is $id_in_query, 0, 'with an id in the query neither';
    ok $by_query->read_until(qr/^data: meanwhile\n/m), 'which counts';
    is $hub->subscribers('news'),      2, 'the streams are those of the hub';
    is $hub->end(label => 'user/ann'), 2, 'a right that is withdrawn ends them';
    ok $again->read_all, 'at once';
    ($count) = asked_by('/events', %back);
    is $count, 1, 'and refuses the ticket: the application is asked';
};

subtest 'the head is that of the application' => sub {
    my %header = (Origin => 'https://shop.example', 'Accept-Encoding' => 'gzip');
    my ($cookies, $first) = cookies_of('/events', 'bob', %header);
    my ($count,   $again) = asked_by('/events', Cookie => $cookies, %header);
    is $count, 0, 'the application is not asked';
    my ($by_application, $by_hub) = map { head_of($_) } $first, $again;
    delete $by_application->{'set-cookie'};
    $by_hub->{'access-control-expose-headers'} =~ s/, Preference-Applied\z//;    # a poll would have it
    delete @$_{qw(date connection server transfer-encoding)} for $by_application, $by_hub;
    is_deeply $by_hub, $by_application, 'the same fields';
    is $by_hub->{'content-encoding'},            'gzip',                 'coded as the client accepts it';
    is $by_hub->{'access-control-allow-origin'}, 'https://shop.example', 'for the page of another origin';
    $_->leave for $first, $again;
    ($cookies) = cookies_of('/events', 'bob', Origin => 'https://other.example');
    ($count)   = asked_by('/events', Cookie => $cookies, Origin => 'https://other.example');
    is scalar(grep { lc eq 'cache-control' } @{$first->headers}), 1, 'nothing of the hub process is in it';
    is $count, 1, 'a page whose origin only middleware may allow is the application\'s';
};

subtest 'polls' => sub {
    my %back = left_by('eve');
    my ($count, $poll) = asked_by('/events', %back, Prefer => 'wait=0, request=7f');
    is $count,                              0,                                'the application is not asked for a poll';
    is $poll->header('Preference-Applied'), 'wait=0, request=7f, ticket=hub', 'it is one';
    is $poll->header('Incremental'),        undef,                            'which ends soon';
    ok $poll->read_all, 'and has ended';
    ($count, $poll) = asked_by('/events', %back, Prefer => 'wait=30; reason=mute');
    $hub->publish(eve => 'awaited');
    ok $poll->read_all, 'a poll that waits ends with the event';
    like $poll->body, qr/^data: awaited\n/m, 'that it has waited for';
};

subtest 'members and limits' => sub {
    my ($cookies, $first) = cookies_of('/events?room=hall', 'ann');
    ok wait_until($DEADLINE, sub { $hub->members('hall') == 1 }), 'a member enters';
    $first->leave;
    ok wait_until($DEADLINE, sub { $hub->members('hall') == 0 }), 'and leaves';
    my ($count, $again) = asked_by('/events?room=hall', Cookie => $cookies);
    is $count, 0, 'the application is not asked';
    ok wait_until($DEADLINE, sub { $hub->members('hall') == 1 }), 'it is here again';
    $again->leave;
    my ($limited, $one)    = cookies_of('/events?limited', 'ann');
    my ($asked,   $second) = asked_by('/events?limited', Cookie => $limited);
    is_deeply [$asked, $second->status], [1, 429], 'one stream more than there may be is the application\'s to refuse';
    $one->leave;
    eventually_ok $DEADLINE, 'then there is a place again' => sub {
        my ($count, $client) = asked_by('/events?limited', Cookie => $limited);
        $client->leave;
        $count == 0 && $client->status == 200;
    };
};

subtest 'every other request is the application\'s' => sub {
    my ($cookies) = cookies_of('/events?a=1', 'ann', 'X-Device' => 'x');
    my @same = ('/events?a=1', Cookie => $cookies, 'X-Device' => 'x');
    is((asked_by(@same))[0], 0, 'the same request');
    my ($ticket, $forged) =
        ($cookies =~ /(eventsource-ticket-shop-\w+=.*)/, $cookies =~ s/(.)(.)\z/($1 eq 'A' ? 'B' : 'A') . $2/re);
    for (
        ['another cookie that does not count', 0, @same[0 .. 0],   Cookie => "theme=dark; $cookies", 'X-Device' => 'x'],
        ['another user',                       1, '/events?a=1',   Cookie => "session=bob; $ticket", 'X-Device' => 'x'],
        ['no user',                            1, '/events?a=1',   Cookie => $ticket,                'X-Device' => 'x'],
        ['another device',                     1, '/events?a=1',   Cookie => $cookies,               'X-Device' => 'y'],
        ['no device',                          1, '/events?a=1',   Cookie => $cookies],
        ['another query',                      1, '/events?a=2',   @same[1 .. 4]],
        ['another path',                       1, '/events/b?a=1', @same[1 .. 4]],
        ['an origin',                          1, @same,           Origin            => 'https://shop.example'],
        ['a password',                         1, @same,           Authorization     => 'Basic eDp5'],
        ['a forged address',                   1, @same,           'X-Forwarded-For' => '127.0.0.1'],
        ['a forged ticket',                    1, '/events?a=1',   Cookie => $forged,             'X-Device' => 'x'],
        ['two tickets',                        1, '/events?a=1',   Cookie => "$cookies; $ticket", 'X-Device' => 'x'],
        ['no ticket',                          1, '/events?a=1',   Cookie => 'session=ann',       'X-Device' => 'x'],
    ) {
        my ($what, $expected, @request) = @$_;
        my $unknown = $hub->stats->{tickets}{unknown};
        my ($count, $client) = asked_by(@request);
        is $count,                                     $expected, $what;
        is $hub->stats->{tickets}{unknown} - $unknown, 1,         'which is counted once' if $what eq 'a forged ticket';
        $client->leave;
    }
    my $post = Testing::Client->get(
        $nginx->port, '/events',
        method  => 'POST',
        then    => 'a' x 50_000,
        headers => [Cookie => 'session=ann', 'Content-Length' => 50_000]
    );
    $post->read_head;
    is $post->status, 200, 'a POST with a body reaches the application';
    like $post->header('Content-Type'), qr{\Atext/event-stream}, 'which answers with a stream';
    my ($large) = cookies_of('/events?many=10', 'ann');
    my $counted = $hub->stats->{tickets};
    my ($asked, $by_worker) = asked_by('/events?many=10', Cookie => $large);
    like $large, qr/ticket/, 'a ticket that is too large with what the hub process needs is given without';
    is_deeply [$asked, scalar $by_worker->header('Set-Cookie')], [1, undef], 'and is the worker\'s';
    is_deeply $hub->stats->{tickets}, {%$counted, accepted => $counted->{accepted} + 1}, 'which alone counts it';
    my $cookie = 'session=ann; a=' . 'a' x 7_000;
    my ($count, $long) = asked_by('/events', Cookie => $cookie, 'X-A' => 'a' x 7_000, 'X-B' => 'a' x 7_000);
    is_deeply [$count, $long->status], [1, 200], 'a head that is longer than the hub process reads';
    ($count, my $refused) = asked_by('/events');
    is_deeply [$count, $refused->status], [1, 403], 'a client without a session is refused';
    my $finished = get('/events?a=1', @same[1 .. 4], 'Last-Event-ID' => 'eventsource-finished');
    is $finished->status, 204, 'a client that has finished is told so';
};

subtest 'hostile clients of the socket' => sub {
    my $raw = sub {
        my ($bytes) = @_;
        my $client = IO::Socket::UNIX->new(Peer => $http) or return 'no connection';
        local $SIG{PIPE} = 'IGNORE';
        syswrite $client, $bytes;
        return $client;
    };
    my $answer = sub {
        my $client = $raw->(@_);
        my $all    = '';
        wait_until($DEADLINE, sub { !sysread $client, $all, 65_536, length $all });
        return $all =~ m{\AHTTP/1\.1 (\d+)} ? ($all =~ /^X-Accel-Redirect: \@app\r$/m ? 'application' : $1) : $all;
    };
    my ($cookies) = cookies_of('/events', 'ann');
    my $host      = 'Host: 127.0.0.1:' . $nginx->port . "\r\n";
    my $head      = "${host}X-Forwarded-For: 127.0.0.1\r\nCookie: $cookies\r\n";
    for (
        ['no ticket',          "GET /events HTTP/1.1\r\nHost: a\r\n\r\n"],
        ['HTTP/1.0',           "GET /events HTTP/1.0\r\n\r\n"],
        ['an absolute URL',    "GET http://shop.example/events HTTP/1.1\r\n$head\r\n"],
        ['a fragment',         "GET /events# HTTP/1.1\r\n$head\r\n"],
        ['HEAD',               "HEAD /events HTTP/1.1\r\n$head\r\n"],
        ['a body',             "GET /events HTTP/1.1\r\n${head}Content-Length: 3\r\n\r\nabc"],
        ['two lengths',        "GET /events HTTP/1.1\r\n${head}Content-Length: 0\r\nContent-Length: 9\r\n\r\n"],
        ['chunks',             "GET /events HTTP/1.1\r\n${head}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
        ['a POST',             "POST /events HTTP/1.1\r\n$head\r\n"],
        ['two requests',       "GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /events HTTP/1.1\r\n$head\r\n"],
        ['two hosts',          "GET /events HTTP/1.1\r\n$head$host\r\n"],
        ['no host',            "GET /events HTTP/1.1\r\nCookie: $cookies\r\n\r\n"],
        ['a folded field',     "GET /events HTTP/1.1\r\n${head}X: a\r\n b\r\n\r\n"],
        ['a space in a name',  "GET /events HTTP/1.1\r\n${head}X : a\r\n\r\n"],
        ['an underscore',      "GET /events HTTP/1.1\r\n${head}X_A: a\r\n\r\n"],
        ['a NUL',              "GET /events HTTP/1.1\r\n${head}X: \0\r\n\r\n"],
        ['TLS',                "\x16\x03\x01\x02\x00\n"],
        ['HTTP/2',             "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
        ['a thousand fields',  "GET /events HTTP/1.1\r\n$head" . "X: 1\r\n" x 1000 . "\r\n"],
        ['a long head',        "GET /events HTTP/1.1\r\n${head}X: " . 'a' x 20_000 . "\r\n\r\n"],
        ['an endless line',    'GET /' . 'a' x 20_000],
        ['a dot in the path',  "GET /x/../events HTTP/1.1\r\n$head\r\n"],
        ['two slashes',        "GET //events HTTP/1.1\r\n$head\r\n"],
        ['an escaped path',    "GET /%65vents HTTP/1.1\r\n$head\r\n"],
        ['a slash at its end', "GET /events%2F HTTP/1.1\r\n$head\r\n"],
        ['a parameter',        "GET /events;a HTTP/1.1\r\n$head\r\n"],
        ['a second query',     "GET /events?a?b HTTP/1.1\r\n$head\r\n"],
        ['bytes in the path',  "GET /events\xE4 HTTP/1.1\r\n$head\r\n"],
        ['a second session',   "GET /events HTTP/1.1\r\n${head}Cookie: session=bob\r\n\r\n"],
        ['a longer host',      "GET /events HTTP/1.1\r\n" . $head =~ s/(?=\r\nCookie)/.evil.example/r . "\r\n"],
    ) {
        my ($what, $bytes) = @$_;
        is $answer->($bytes), 'application', $what;
    }
    my @silent = map { $raw->('GET /') } 1 .. 1100;
    my $served = $raw->("GET /events HTTP/1.1\r\n$head\r\n");
    my $id     = $hub->publish(ann => 'served');
    my $body   = '';
    ok wait_until($DEADLINE, sub { sysread $served, $body, 65_536, length $body; $body =~ /^id: \Q$id\E$/m }),
        'beside many silent clients one with a ticket is served'
        or diag $body;
    is scalar(grep { ref } @silent), 1100, 'each of them was accepted';
    my $in_parts = $raw->('GET /events HTT');
    my $rest     = "P/1.1\r\n$head\r\n";
    for my $byte (split //, $rest) { syswrite $in_parts, $byte }
    $body = '';
    ok wait_until($DEADLINE, sub { sysread $in_parts, $body, 65_536, length $body; $body =~ /^data: served\n/m }),
        'a head that comes byte by byte is read';
};

my %proxy;
for my $name (qw(HAProxy Caddy Apache)) {
    subtest $name => sub {
        needs(Testing::Proxy->missing($name));
        chmod 0711, "$folder" and chmod 0666, $http or die "$http: $!" if $name eq 'Apache';   # its user is another one
        my $proxy   = $proxy{$name} = Testing::Proxy->start($name, $server, http => $http);
        my $request = sub {
            my ($cookies, @option) = @_;
            my $before = asked();
            my $client = $proxy->curl('/events', '--header', "Cookie: $cookies", @option);
            ok wait_until($DEADLINE, sub { $client->log =~ m{^HTTP/\S+ \d.*^\r?\n}ms }), 'a response'
                or diag $client->log;
            my ($ticket) = $client->log =~ /^Set-Cookie: ([^;]+)/mi;
            return (asked() - $before, $ticket, $client);
        };
        my ($count, $ticket, $client);
        ok wait_until($DEADLINE, sub { (undef, $ticket) = $request->('session=kim', '--http2'); $ticket }), 'a ticket';
        my $cookies = "session=kim; $ticket";
        for my $version ('--http1.1', '--http2') {
            ($count, undef, $client) = $request->($cookies, $version);
            is $count, 0, "$version: the application is not asked for the next request";
            my $id = $hub->publish(kim => 'at once');
            ok wait_until($DEADLINE, sub { $client->log =~ /^id: \Q$id\E$/m }), 'events arrive at once';
        }
        ($count) = $request->("session=lee; $ticket", '--http2');
        is $count, 1, 'it is for another user';
        ($count) = $request->($cookies, '--http2', '--header', 'X-Forwarded-For: 127.0.0.1');
        is $count, $name eq 'Caddy' ? 0 : 1, 'a client does not choose its address';
        ($count) = $request->($cookies, '--http2', '--data', 'a' x 50_000);
        is $count, 1, 'and for a POST with a body';
        ($count, undef, $client) = $request->($cookies, '--http2', '--request', 'GET', '--data', 'a' x 50_000);
        is $count, 1, 'and for a GET with one';
        like $client->log, qr{^HTTP/\S+ 200}m, 'which it answers';
        my $before = asked();
        $client = $proxy->curl('/events/a%3fb', '--header', "Cookie: $cookies");
        ok wait_until($DEADLINE, sub { $client->log =~ m{^HTTP/\S+ 200}m && asked() > $before }),
            'and for a path with an escaped question mark'
            or diag $client->log;
        return if $name eq 'Caddy';
        my @chunked = ('--header', 'Transfer-Encoding: chunked', '--data', 'a' x 50_000);
        ($count, undef, $client) = $request->($cookies, '--http1.1', qw(--request GET), @chunked);
        is $count, 1, 'and for a GET whose body has no length';
        like $client->log, qr{^HTTP/\S+ 200}m, 'which it answers, too';
    };
}

subtest 'an upgrade, and a hub process that is away' => sub {
    my %back = left_by('zoe');
    my ($count, $open) = asked_by('/events', %back);
    is $count,                                                                                  0, 'by its ticket';
    is system($^X, '-Mblib', 'bin/eventsource', 'hub', 'upgrade', 'shop', '--socket', $socket), 0, 'an upgrade';
    $hub->publish(zoe => 'after the upgrade');
    ok $open->read_until(qr/^data: after the upgrade\n/m), 'the stream continues';
    ($count) = asked_by('/events', %back);
    is $count, 0, 'tickets are known, and the socket is served';
    $process->stop('KILL');

    for my $name (sort keys %proxy) {
        my $before = asked();
        my $client = $proxy{$name}->curl('/events', '--header', 'Cookie: eventsource-ticket-shop=x');
        ok wait_until($DEADLINE, sub { asked() > $before }), "$name asks the application";
    }
    ($count, my $away) = asked_by('/events', %back);
    is $count, 1, 'without a hub process the application is asked';
    $process = hub_process();
    $hub->publish(zoe => 'again');
    my $back;
    eventually_ok $DEADLINE, 'the next process serves' => sub {
        ($count, $back) = asked_by('/events', %back);
        $back->status == 200 && $back->header('Set-Cookie');
    };
    is $count, 1, 'it does not know the tickets of another life: the application is asked';
    my $again = cookies($back, 'session=zoe');
    ($count) = asked_by('/events', Cookie => $again);
    is $count, 0, 'and gives one that it knows';
};

subtest 'a client comes back before the hub process has read its store' => sub {
    my $redis = Testing::Redis->start_or_skip_all(appendonly => 'always');
    my @store = ('--store', $redis->url);
    $process->stop('KILL');
    $process = hub_process(@store);
    my %back;
    ok wait_until($DEADLINE, sub { %back = left_by('zoe'); $back{Cookie} =~ /ticket/ }), 'a ticket of this hub';
    my ($first, $client);

    # A process waits for its store for some seconds after its start, which are perhaps over.
    my $waits = sub {
        $process->stop('KILL');
        Testing::Process::suspend($redis->pid);
        $process = hub_process(@store);
        my $before = asked();
        $first = Testing::Client->get($nginx->port, '/events', headers => [%back]);
        ok wait_until($DEADLINE, sub { asked() > $before }),
            'without a worker the first client has the application asked';
        $before = asked();
        $client = Testing::Client->get($nginx->port, '/events', headers => [%back, Prefer => 'request=t']);
        my $is_answered = $client->read_head(0.3);
        kill CONT => $redis->pid;
        return !$is_answered && $client->read_head && asked() == $before;
    };
    ok wait_until($DEADLINE, $waits), 'the next one waits, and the application is not asked';
    is $client->status,                       200,                     'and gets its stream';
    is $client->header('Preference-Applied'), 'request=t, ticket=hub', 'of the hub process';
};

done_testing;
