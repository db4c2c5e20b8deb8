# What each proxy with its configuration of EventSource::Deployment must do, over HTTP/1.1 and HTTP/2 with TLS: an event arrives
# at once, keepalives hold a quiet stream open, and the application sees that a client has disconnected.
#
# The test's copy of the configuration has timeouts of one second. That they take effect is seen on a stream without keepalive.

use lib 't/lib';
use Testing;
use Testing::Client;
use Testing::ConfiguredProxy;
use Testing::Developer qw(needs);
use Testing::Proxy;
use Testing::SideBySide   qw(run_each);
use Testing::SourceTree   qw(distribution_files slurp);
use Testing::StreamServer qw(path);

my $OFTEN = 0.3;    # seconds; the keepalive of the streams

# Runs all cases. Options: has_timeout, whether the proxy ends a quiet stream; most, how many streams it opens at once over one
# connection of HTTP/2, if not all.
sub proxy_ok {
    my ($name, %option) = @_;
    needs(Testing::Proxy->missing($name));
    my $server = Testing::StreamServer->start('Starman');
    my $proxy  = Testing::Proxy->start($name, $server, timeout => 1);
    my $quiet  = $option{has_timeout} && $proxy->curl(path('/held', name => 'quiet', keepalive => 0), '--http2');
    streams_ok($server, $proxy, $_) for '1.1', '2';
    many_ok($server, $proxy, $option{most} || 10);
    log_ok(
        $proxy->curl('/forwarded', '--header', 'X-Forwarded-For: 192.0.2.7'),
        qr/^for (?:192[.]0[.]2[.]7, )?127[.]0[.]0[.]1$/m,
        'the proxy says for whom it asks'
    );
    ok wait_until(sub { $quiet->has_ended }), 'the proxy ends a stream without keepalive' if $quiet;
    return;
}

sub log_ok {
    my ($client, $pattern, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    ok wait_until(sub { $client->log =~ $pattern }), $name or diag $client->log;
    return;
}

# Two streams of this process, one over each version of HTTP.
sub streams_ok {
    my ($server, $proxy, $version) = @_;
    my $client = $proxy->curl(path('/held', name => $version, keepalive => $OFTEN), "--http$version");
    log_ok($client, qr{\AHTTP/\Q$version\E 200}, "the response is HTTP/$version");
    log_ok($client, qr/^event: held\r?\n/m,      'what the handler pushes arrives while the stream is open');
    log_ok($client, qr/(?:^:\r?\n.*?){5}/ms,     'five keepalives, in more time than the timeout of the proxy');
    $server->push(name => $version);
    log_ok($client, qr/^id: 1\r?$/m, 'an event after them arrives while the stream is open');
    ok !$client->has_ended, 'the stream is open';
    $client->stop;
    $server->ended_ok($version, 'client', 'the application sees that the client has disconnected');
    return;
}

# One connection of HTTP/2 for more streams than a browser opens over HTTP/1.1.
sub many_ok {
    my ($server, $proxy, $most) = @_;
    my @names  = map { "many$_" } 1 .. 10;
    my $client = $proxy->curl(path('/held', name => 'many[1-10]', keepalive => $OFTEN),
        qw(--http2 --parallel --parallel-max 10));
    my @open;
    wait_until sub {
        my $held = $server->stats->{held};
        $most == (@open = grep { $held->{$_} } @names);
    };
    is scalar @open, $most, "$most streams are open over HTTP/2";
    $client->stop;
    $server->ended_ok($_, 'client', "$_ ends with its client") for @open;
    return;
}

sub haproxy_leaving {

    # Keepalives would show HAProxy that the client has left, so the streams of these cases have none.
    my @options = slurp('examples/deployment/haproxy.cfg') =~ /^\s+(option .+)/mg;
    my $server  = Testing::StreamServer->start('Starman');
    my %proxy   = (
        deployed => Testing::ConfiguredProxy->start('HAProxy', $server, @options),
        without  => Testing::ConfiguredProxy->start('HAProxy', $server, grep { !/abortonclose/ } @options),
    );
    for my $name (qw(without deployed)) {   # in this order: the end of the second one shows that the first had the time
        my $client = Testing::Client->get($proxy{$name}->port, path('/held', name => $name, keepalive => 0));
        ok $client->read_until(qr/^event: held\r?\n/m), "$name: a quiet stream is open";
    }
    $server->ended_ok('deployed', 'client', 'the application sees at once that the client of a quiet stream has left');
    ok !defined $server->ended('without'), 'without the option abortonclose it does not';
    wait_until(sub { $server->push(name => 'without'); defined $server->ended('without') });
    $server->ended_ok('without', 'client', 'but when it has sent something');
    return;
}

subtest 'each file for nginx says for whom it asks' => sub {
    for my $file (grep { m{^examples/.*[.]conf$} } distribution_files()) {
        my $text = slurp($file);
        ok $text =~ /proxy_set_header X-Forwarded-For \$proxy_add_x_forwarded_for;/, $file if $text =~ /proxy_pass/;
    }
};

my %CASE = (
    'nginx'   => sub { proxy_ok('nginx',   has_timeout => 1) },
    'HAProxy' => sub { proxy_ok('HAProxy', has_timeout => 1); haproxy_leaving() },
    'Apache'  => sub { proxy_ok('Apache',  has_timeout => 1, most => 6) },
    'Caddy'   => sub { proxy_ok('Caddy') },    # it has no timeout for quiet streams
);
run_each([sort keys %CASE] => sub { $CASE{$_[0]}->() });

done_testing;
