# A proxy that compresses passes a stream with a content coding on as it is: with one coding, each event at once.

use lib 't/lib';
use Testing            qw(native);
use Testing::Developer qw(has_command);
use Testing::CodedClient;
use Testing::ConfiguredProxy;
use Testing::Proxy;
use Testing::Server     qw(path);
use Testing::SideBySide qw(run_each);
use EventSource::XS::Request;

my $DEADLINE = 10;                                                               # seconds
my $BEST     = EventSource::XS::Request->coding('zstd, gzip');
my @CODINGS  = ('gzip', $BEST eq 'zstd' && has_command('curl') ? 'zstd' : ());

# The directives by which each compresses streams of events.
my %COMPRESSES = (
    nginx   => ['gzip on;', 'gzip_types text/event-stream;', 'gzip_proxied any;', 'gzip_min_length 0;'],
    HAProxy => ['compression algo gzip', 'compression type text/event-stream'],
    Caddy   => ["encode {\n        zstd\n        gzip\n        match header Content-Type text/event-stream*\n    }"],
    Apache  => ['SetOutputFilter DEFLATE'],
);

sub passes_on {
    my ($server, $at, $coding) = @_;
    my $client = Testing::CodedClient->get($at, path('/hub', channels => $coding), coding => $coding);
    ok $client->read_until(qr/^id: .*\n\n/m), 'the position arrives';
    is join('; ', $client->header('Content-Encoding')), $coding, 'the response has one coding';
    for my $number (1 .. 5) {
        $server->ask('/publish', channel => $coding, from => $number, rows => 20);
        ok $client->read_until(qr/^data: number $number\..*\nid: .*\n\n/m), "event $number arrives at once";
    }
    $server->ask('/publish', channel => $coding, from => 6, count => 10, rows => 5_000);
    ok $client->read_until(qr/^data: number 15\..*\nid: .*\n\n/m), 'so do several rounds';
    return;
}

sub has_http2 {
    my ($name, $server) = @_;
    my $missing = Testing::Proxy->missing($name);
    plan skip_all => $missing if defined $missing;
    my $proxy = Testing::Proxy->start($name, $server);
    for my $coding (@CODINGS) {
        my $curl = $proxy->curl(path('/held', name => $coding, channels => "2$coding", accepts => $coding), '--http2');
        ok wait_until($DEADLINE, sub { $curl->log =~ /^id: .*\r\n\r\n/m }), 'the position arrives' or diag $curl->log;
        like $curl->log, qr{\AHTTP/2 200}, 'over HTTP/2';
        is_deeply [$curl->log =~ /^content-encoding: (.*)\r$/mg], [$coding], 'the response has one coding';
        for my $number (1 .. 5) {
            $server->ask('/publish', channel => "2$coding", from => $number, rows => 20);
            ok wait_until($DEADLINE, sub { $curl->log =~ /^data: number $number\..*\r\n(?:.+\r\n)*\r\n/m }),
                "event $number arrives at once";
        }
    }
    return;
}

run_each [sort keys %COMPRESSES] => sub {
    my $name    = shift;
    my $missing = Testing::ConfiguredProxy->missing($name);
    plan skip_all => $missing if defined $missing;
    my $server = Testing::Server->start('Starman', 't/compression/streams.psgi', workers => 1);
    my $proxy  = Testing::ConfiguredProxy->start($name, $server, @{$COMPRESSES{$name}});
    for my $coding (@CODINGS) {
        subtest "$name, $coding" => sub { passes_on($server, $proxy->port, $coding) };
    }
    subtest "$name, HTTP/2" => sub { has_http2($name, $server) };
};

done_testing;
