# eventsource admin: it serves the page of a hub to whoever knows the token, on 127.0.0.1, until a signal ends it.

use lib 't/lib';
use Testing;
use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use Testing::Client;
use Testing::CommandLine;
use Testing::Port;

my $shell = Testing::CommandLine->new;
my $hub   = $shell->connect('shop');
$hub->publish(news => 'hello');

# Starts the command. Returns it, the port and the path with the token.
sub admin {
    my @options = @_;
    my $command = $shell->start('admin', '--hub', 'shop', @options);
    my ($port, $path);
    ok wait_until(sub { ($port, $path) = $command->log =~ m{^http://127[.]0[.]0[.]1:([0-9]+)(/\S+/) .*\n}m }),
        'it prints its URL';
    return ($command, $port, $path);
}

sub status { return Testing::Client->ask(@_)->status }

subtest 'the token' => sub {
    my ($command, $port, $path) = admin();
    like $path, qr{\A/[0-9a-f]{32}/\z}, 'it has 128 bits';
    is status($port, $path), 200, 'with it there is the page';
    is status($port, $path =~ s{/\z}{}r), 302, 'also without the slash';
    for my $wrong ('/', '/look', '/x/', $path =~ s/.\/\z/\//r, $path =~ s/./x/gr, uc($path) . 'look', "/$path") {
        is status($port, $wrong), 403, 'without it there is not';
    }
    is status($port, $path, headers => [Host => 'evil.example']), 403, 'under another name neither (DNS rebinding)';
    my $other = IO::Socket::INET->new(PeerAddr => '127.0.0.2', PeerPort => $port, Timeout => 1);
    ok !$other, 'no other address has a listener';
    my ($second, undef, $next) = admin();
    isnt $next, $path, 'each run has another one';
    $_->stop for $second, $command;
};

# Connects and sends some bytes.
sub begin {
    my ($port, $bytes) = @_;
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or die "no connection: $!\n";
    syswrite $socket, $bytes;
    return $socket;
}

sub has_ended {
    my $socket = shift;
    return IO::Select->new($socket)->can_read(0) && !sysread $socket, my $byte, 1;
}

subtest 'a body that is refused is not waited for' => sub {
    my ($command, $port, $path) = admin();
    for my $case ([abc => 400], [-1 => 400], ['1e3' => 400], [1_000_000_000_000 => 403], ['9' x 23 => 403], [9 => 403])
    {
        my ($length, $status) = @$case;
        is status($port, '/x/publish', method => 'POST', headers => ['Content-Length' => $length]), $status,
            "Content-Length: $length";
    }
    is status($port, "${path}publish", method => 'POST', headers => ['Content-Length' => $_]), 413, "the owner: $_"
        for 3_000_000, '9' x 23;
    is status($port, '/x/', headers => ['Transfer-Encoding' => 'chunked']), 411, 'a body without a length';
    is status($port, "${path}publish", method => 'HEAD', headers => ['Content-Length' => 'abc']), 400, 'HEAD';
    my $body = '{"channel":"news","data":"from the page"}';
    is(Testing::Client->post($port, "${path}publish", $body, 'Content-Type' => 'application/json')->status,
        200, 'a body of the owner');
    $command->stop;
    unlike $command->log, qr/ line [0-9]+/, 'nothing is printed';
};

subtest 'strangers who begin a request' => sub {
    my ($command, $port, $path) = admin();
    my $most      = 64;
    my @strangers = map { begin($port, 'G') } 1 .. $most;
    is status($port, $path), 200, 'the page is served';
    ok !has_ended($strangers[-1]), 'before they are given up';
    push @strangers, map { begin($port, 'G') } 1 .. 10;
    is status($port, $path),                       200, 'it is, too, beside more of them';
    is grep({ has_ended($_) } @strangers[0 .. 9]), 10,  'the oldest have ended';
    ok !has_ended($strangers[-1]), 'the newest have not';
    my $slow = begin($port, "GET $path HTTP/1.1\r\nHost: 127.0.0.1:$port\r");
    my $page = Testing::Client->get($port, "${path}tail?channel=news");
    ok $page->read_until(qr/^data: hello/m), 'a page has its tail meanwhile';
    syswrite $slow, "\n\r\n";
    like do { local $/ = undef; readline $slow }, qr{\AHTTP/1[.]0 200 .*</html>}s,
        'a request that comes in parts has its whole response';
    my $long = begin($port, 'GET /' . 'x' x 65_536);
    like do { local $/ = undef; readline $long }, qr{\AHTTP/1[.]0 400 }, 'a head that is too long';
    ok wait_until(sub { has_ended($strangers[-1]) }), 'who does not go on is given up';
    $page->leave;
    $command->stop;
};

subtest 'pages at the same time, and idle connections of a browser' => sub {
    my ($command, $port, $path) = admin();
    my @idle  = map { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) } 1 .. 20;
    my @pages = map { Testing::Client->get($port, "${path}tail?channel=news") } 1 .. 3;
    ok $_->read_until(qr/^data: hello/m), 'a page has its tail' for @pages;
    my $look = JSON::PP::decode_json(Testing::Client->ask($port, "${path}look")->body);
    is $look->{name}, 'shop', 'and the hub';
    kill INT => $command->pid;
    ok wait_until(sub { $command->has_ended }), 'SIGINT ends it';
    is $command->{status}, 0, 'without an error';
    $_->read_all for @pages;
    pass 'the tails end, too';
    unlike $command->log, qr/ at \S+ line /, 'nothing else is printed';
    $command->stop;
};

subtest 'SIGTERM, the port, and what is wrong' => sub {
    my $reserved = Testing::Port->new;
    my ($command, $port) = admin('--port', $reserved->number);
    is $port, $reserved->number, 'the port that is given';
    my $busy = $shell->run('admin', '--hub', 'shop', '--port', $port);
    is_deeply [@$busy{qw(code out)}], [1, ''], 'it is in use';
    like $busy->{err}, qr/\Aeventsource admin: cannot listen at the port $port of 127[.]0[.]0[.]1: /, 'the message';
    kill TERM => $command->pid;
    ok wait_until(sub { $command->has_ended }), 'SIGTERM ends it';
    is $command->{status}, 0, 'without an error';
    $command->stop;
    is $shell->run('admin', '--hub', 'shop', '--port', $_)->{code}, 2, "--port $_" for 0, 65_536, 'x';
    is $shell->run(qw(admin --hub shop what))->{code},              2, 'an argument';
    is $shell->run(qw(admin))->{code},                              2, 'no hub';
    is $shell->run(qw(admin --hub nobody --timeout 0.2))->{code},   3, 'a hub without a process';
};

done_testing;
