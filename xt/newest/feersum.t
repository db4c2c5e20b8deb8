# Feersum 1.507 encrypts itself: its streams are on its writer then, whatever a header says, also in HTTP/2. Without TLS they
# are native, also behind a proxy that says https.

use lib 't/lib';
use Testing qw(native);
use Testing::Newest;
use Testing::Developer qw(has_command);
use Testing::HubServer;
use Testing::Server;

Testing::Newest->show('Feersum');
plan skip_all => 'this Feersum cannot encrypt' if !Testing::Server->has_new_feersum;

my @BELIEVES = (args => ['--reverse-proxy', 1], env => {EVENTSOURCE_XS_DEBUG => 1});

sub kind_ok {
    my ($server, $kind, @headers) = @_;
    my $what   = join ': ', @headers ? @headers : 'no header';
    my $before = length $server->log;
    my $client = $server->get('/hub?channels=a', headers => \@headers);
    ok $client->read_until(qr/^id: \S+\r?\n\r?\n/m), "$what: the stream begins";
    $server->publish(channel => 'a', count => 1);
    ok $client->read_until(qr/^data: 1[.]/m), "$what: an event arrives";
    like substr($server->log, $before), qr{/hub: \Q$kind\E}, "$what: $kind";
    return $client->leave;
}

for my $tls (1, 0) {
    subtest $tls ? 'with TLS' : 'without TLS' => sub {
        my $server = Testing::HubServer->start('Feersum', tls => $tls, @BELIEVES);
        my $kind   = $tls ? "on the server's writer: the connection is encrypted" : 'native stream';
        kind_ok($server, $kind, @$_) for [], ['X-Forwarded-Proto' => 'http'], ['X-Forwarded-Proto' => 'https'];
        $server->stop;
    };
}

subtest 'HTTP/2' => sub {
    my $has_h2 = has_command('curl') && !system $^X, '-MFeersum', '-e', 'exit !Feersum->endjinn->has_h2';
    plan skip_all => 'this Feersum has no HTTP/2, or there is no curl' if !$has_h2;
    my $server = Testing::HubServer->start('Feersum', tls => 1, args => ['--h2', 1]);
    my @curl =
        (qw(curl --no-progress-meter --include --no-buffer --http2 --max-time 20 --cacert), $server->certificate);
    my $pid = open my $lines, '-|', @curl, 'https://127.0.0.1:' . $server->port . '/hub?channels=a' or die "curl: $!\n";
    is readline($lines) =~ s/\s+\z//r, 'HTTP/2 200', 'an endless stream begins';
    while (defined(my $line = readline $lines)) { last if $line =~ /^id: / }
    $server->publish(channel => 'a', count => 1);
    my $arrives;
    while (defined(my $line = readline $lines)) { last if $arrives = $line =~ /^data: 1[.]/ }
    ok $arrives, 'an event that is published later arrives';
    kill TERM => $pid;
    close $lines;
    $server->stop;
};

done_testing;
