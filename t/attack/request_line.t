# The request line and the headers of a client cannot make its stream occupy a worker: an unknown version, a scheme, a
# condition.

use lib 't/lib';
use Testing;
use Testing::AttackedServer qw(on_each_server);

# The last token of the request line. uWSGI takes any bytes, the others take some numbers.
my @VERSIONS = (
    'HTTP/1.0',        'HTTP/1.1',          'HTTP/1.2',           'HTTP/1.9',
    'HTTP/1.10',       'HTTP/1.01',         'HTTP/2.0',           'HTTP/9.9',
    'HTTP/0.9',        'HTTP/1.2147483647', 'HTTP/1.99999999999', 'HTTP/1.-1',
    'HTTP/1.1 ',       'http/1.1',          'FOO/1.1',            '',
    'HTTP/1.1 200 OK', "HTTP/1.1\nX: y",    "\x16\x03\x01",       'x' x 2_000,
);

my @HEADERS = (
    [Accept                   => '*/*'],
    [Connection               => 'keep-alive'],
    [Connection               => 'close'],
    [Connection               => 'Upgrade', Upgrade => 'websocket'],
    [Connection               => 'close, keep-alive, x'],
    [TE                       => 'trailers, chunked'],
    [Expect                   => '100-continue'],
    [Expect                   => 'something else'],
    [Range                    => 'bytes=5-'],
    ['If-None-Match'          => '*'],
    ['If-Modified-Since'      => 'Sun, 06 Nov 1994 08:49:37 GMT'],
    ['Accept-Encoding'        => 'gzip, chunked;q=0'],
    ['Content-Length'         => '0'],
    ['Content-Length'         => '-5'],
    ['X-Forwarded-Proto'      => 'https'],
    ['X-Forwarded-SSL'        => 'on'],
    ['X-Forwarded-HTTPS'      => 'on'],
    [HTTPS                    => 'on'],
    ['X-HTTP-Method-Override' => 'POST'],
);

my $tags = 0;

sub shown { return substr($_[0], 0, 40) =~ s/([^ -~])/sprintf '\\x%02X', ord $1/ger }

# Opens as many clients as there are workers. Every stream must be native, and every worker free while the clients stay.
sub holds_no_worker {
    my ($server, $what, $path, %option) = @_;
    my @clients =
        map { my $tag = 'tag' . ++$tags; [$tag, $server->get("$path?tag=$tag", %option)] } 1 .. $server->{count};
    my @wrong;
    for (@clients) {
        my ($tag, $client) = @$_;
        my $understood = eval { $client->read_until(qr/data: held\r\n\r\n/); 1 };
        push @wrong, $@ if !$understood;
        next if $understood && ($client->status // 0) =~ /\A[345]/ && $server->reported($tag) eq '';
        push @wrong, 'status line: ' . ($client->status_line // 'none')
            if ($client->status_line // '') !~ m{\AHTTP/1\.[01] 200 OK\z};
        push @wrong, 'chunks in ' . $client->status_line
            if $client->{chunked} && $client->status_line !~ m{\AHTTP/1\.1 };
        push @wrong, 'body: ' . $client->body               if $client->text ne "data: held\r\n\r\n";
        push @wrong, 'reported: ' . $server->reported($tag) if $server->reported($tag) !~ /\Ahandled, native: 1$/m;
    }
    push @wrong, 'not all workers are free' if !$server->states;
    is join("\n", @wrong), '', "$what: no stream, or a native stream, and every worker is free";
    $_->[1]->leave for @clients;
    return $server->is_sound_ok($what);
}

sub any_version {
    my $server = shift;
    for my $version (@VERSIONS) {
        holds_no_worker($server, 'version "' . shown($version) . '"', '/native', protocol => $version) or return;
    }
    return;
}

sub any_header {
    my $server = shift;
    for my $headers (@HEADERS) {
        my @first = grep { $headers->[0] eq 'Expect' && $headers->[1] eq '100-continue' } 1;
        next if @first;    # Client knows no interim response; see below
        holds_no_worker($server, "@$headers", '/native', headers => $headers) or return;
    }
    return;
}

sub interim_response {
    my $server = shift;
    my $tag    = 'tag' . ++$tags;
    my $got =
        $server->attack("GET /native?tag=$tag HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", qr/data: held/);
    like $got, qr{\A(?:HTTP/1\.1 100 Continue\r\n\r\n)?HTTP/1\.[01] 200 OK\r\n},
        'Expect: 100-continue: the stream begins, after an optional 100 Continue';
    like $server->reported($tag), qr/\Ahandled, native: 1$/m, 'Expect: 100-continue: the stream is native';
    return $server->is_sound_ok('Expect: 100-continue');
}

sub any_method {
    my $server = shift;
    holds_no_worker($server, "method $_", '/native', method => $_) or return for qw(get Get HEAD POST OPTIONS);
    return holds_no_worker($server, 'an absolute URI', 'http://a/native');
}

sub condition {
    my $server = shift;
    my $tag    = 'tag' . ++$tags;
    my $client = $server->get("/conditional?tag=$tag", headers => ['If-None-Match' => '"stream"']);
    ok $client->read_head, 'a condition that holds: the head arrives';
    is $client->status,         304, 'a condition that holds: the status is 304';
    is $server->reported($tag), '',  'a condition that holds: the handler does not run';
    ok scalar($server->states), 'a condition that holds: every worker is free';
    $client->leave;
    $server->is_sound_ok('a condition that holds');
    return holds_no_worker($server, 'a condition that does not hold',
        '/conditional', headers => ['If-None-Match' => '"other"']);
}

sub believed_scheme {
    my $server = shift;
    return holds_no_worker $server, 'a scheme that a middleware believes',
        '/behind-a-proxy', headers => ['X-Forwarded-Proto' => 'https'];
}

on_each_server sub {
    my $server = shift;
    $server->prepare('/native', '/conditional', '/behind-a-proxy');
    $server->case('any version in the request line gives a native stream or none', sub { any_version($server) });
    $server->case('any header gives a native stream or none',                      sub { any_header($server) });
    $server->case('Expect: 100-continue gives a native stream',                    sub { interim_response($server) });
    $server->case('any method gives a native stream or none',                      sub { any_method($server) });
    $server->case('a conditional request gives 304 or a native stream',            sub { condition($server) });
    $server->case('X-Forwarded-Proto behind ReverseProxy gives a native stream',   sub { believed_scheme($server) });
    unlike $server->log, qr/cannot be native|uninitialized|Can't call/, 'the server reports no error';
};

# Here the scheme comes from the client too; the library recognises TLS by what the server writes.
subtest "uWSGI under TLS: the stream is on the server's writer whatever X-Forwarded-Proto says" => sub {
    my $server = Testing::AttackedServer->start('uWSGI', tls => 1, workers => 2);
    for my $scheme ('https', 'http') {
        my $client = $server->get(
            "/native?tag=$scheme",
            headers     => ['X-Forwarded-Proto' => $scheme],
            certificate => $server->certificate
        );
        ok $client->read_until(qr/^data: held\r\n\r\n/m), "X-Forwarded-Proto: $scheme: the stream comes, encrypted";
        like $server->reported($scheme), qr/\Ahandled, native: 0$/m,
            "X-Forwarded-Proto: $scheme: the stream is on the server's writer";
    }
};

done_testing;
