# EventSource::Troubleshooting: the mistakes have the symptoms that it describes, the remedies work, and it lists each message
# and each reason that appears.

use lib 't/lib';
use Testing  qw(Server=Starman);
use JSON::PP qw(decode_json);
use Test::EventSource;
use Testing::Client;
use Testing::Developer  qw(needs_module);
use Testing::SourceTree qw(slurp);

my @COMPRESS = (headers => ['Accept-Encoding' => 'gzip']);

my $pod    = slurp('perl/EventSource/Troubleshooting.pod');
my $server = start(workers => 20);

# A server that says which streams are native.
sub start {
    my @more = @_;
    return Testing::Server->start(
        'Starman', 't/examples/symptoms.psgi',
        workers => 1,
        env     => {EVENTSOURCE_XS_DEBUG => 1},
        @more
    );
}

sub client_of { return Test::EventSource->new(url => shift->url(''), timeout => 10) }

# What the server says of the stream of a path.
sub said_of {
    my $path = shift;
    my $what;
    wait_until(sub { ($what) = $server->log =~ m{^EventSource::XS: /\Q$path\E: (.*)$}m });
    return $what;
}

subtest 'not native' => sub {
    my $es      = client_of($server);
    my %options = (deflated => \@COMPRESS, excluded => \@COMPRESS);
    my @streams = map { $es->get("/$_", @{$options{$_} || []}) } qw(ordinary off deflated excluded filtered timed);
    is said_of($_), 'native stream', "the stream of /$_ is native" for qw(ordinary deflated excluded);
    my ($what) = $pod =~ /^ {4}EventSource::XS: (a stream is not native, and occupies this worker[^:\n]*):/m;
    ok wait_until(sub { $server->log =~ /^EventSource::XS: \Q$what\E: the response's body is filtered; /m }),
        'the log says so once, as the manual quotes it';
    for my $path (qw(off filtered timed)) {
        my ($reason) = (said_of($path) // '') =~ /\Aon the server's writer: (.+)\z/;
        ok $reason,                           "the stream of /$path is not native";
        ok $pod =~ /^=item C<\Q$reason\E>$/m, "the manual lists: $reason";
    }
};

subtest 'a response that is collected' => sub {
    my ($symptom) = $pod =~ /^The log says C<(the client of a stream .+?)>/m;
    my $served    = sub { Testing::Server->start($_[0], 't/examples/symptoms.psgi', args => [-L => $_[1]]) };
    my $says      = sub {
        my ($server, $path) = @_;
        my $from   = length $server->log;
        my $client = Testing::Client->get($server->port, $path);
        ok wait_until(sub { substr($server->log, $from) =~ /^EventSource::XS: \Q$symptom\E: .* -L Restarter, /m }),
            "$path: the log says it as the manual does"
            or diag $server->log;
    };
    for my $name ('HTTP::Server::PSGI', 'Twiggy') {
        subtest "$name -L Shotgun" => sub {
            my $shotgun = $served->($name, 'Shotgun');
            $says->($shotgun, $_) for qw(/released /off /ordinary);
        };
    }
    subtest '-L Restarter' => sub {
        needs_module('Filesys::Notify::Simple');
        my $restarter = $served->('HTTP::Server::PSGI', 'Restarter');
        my $client    = Testing::Client->get($restarter->port, '/ordinary');
        ok $client->read_until(qr/^id: /m), 'a stream of a hub begins';
        is(Testing::Client->post($restarter->port, '/once', '')->status, 204, 'another request publishes');
        ok $client->read_until(qr/^data: gr\xc3\xbcn\r?\n/m), 'the client receives the event';
        unlike $restarter->log, qr/EventSource::XS: the client of a stream/, 'the log has nothing to say';
    };
    my ($collects) = grep { /BufferedStreaming/ } $pod =~ /^=item C<(.* collects the response)>$/mg;
    my $streaming  = Testing::Server->start('HTTP::Server::PSGI', 't/examples/symptoms.psgi');
    my $client     = Testing::Client->get($streaming->port, '/collected');
    ok $client->read_all, 'a middleware that collects the response sends it when it has ended';
    is $client->text, "data: hello\r\n\r\n", 'with its event';
    like $streaming->log, qr/^EventSource::XS: the client of a stream .*: \Q$collects\E; /m,
        'the log names the middleware';
};

subtest 'the client reconnects again and again' => sub {
    my $es     = client_of($server);
    my $stream = $es->get('/released');
    $stream->like_event('hello', 'the handler pushes');
    $stream->ends_ok;
    my $single = start();
    my $of_one = client_of($single);
    my $first  = $of_one->get('/full');
    my $second = $of_one->get('/full');
    is $second->status, 200, 'a client beyond max_streams receives 200';
    $second->ends_ok;
    like $second->raw, qr/^retry: [0-9]+/m, 'and a reconnection time';
};

subtest 'a gap at every reconnect' => sub {
    my $single = start();
    my $es     = client_of($single);
    my $post   = sub { is $es->post("/$_[0]")->code, 204, "/$_[0] publishes" };
    $post->('once');
    my $stream = $es->get('/ordinary');
    ok $stream->next_event, 'the client receives an event';
    $stream->close;
    $post->('once') for 1, 2;
    $stream->reconnect;
    reason_is($stream, 'evicted', 'two events in a history of one');
    $stream->close;
    $single->restart;
    $stream->reconnect;
    reason_is($stream, 'unknown', 'the server was restarted');
};

# The next event is a gap, and the manual lists its reason.
sub reason_is {
    my ($stream, $reason, $name) = @_;
    my $event;
    do { $event = $stream->next_event } while $event && $event->{event} ne 'gap';
    is_deeply decode_json($event->{data}), {reason => $reason}, $name;
    ok $pod =~ /^=item C<\Q$event->{data}\E>$/m, "the manual lists: $event->{data}";
    return;
}

subtest 'mojibake' => sub {
    my $single = start();
    my $es     = client_of($single);
    for my $case (
        [twice   => qr/gr\xc3\x83\xc2\xbcn/, 'bytes that are published as characters are encoded twice'],
        [json    => qr/gr\xc3\x83\xc2\xbcn/, 'so is the result of encode_json'],
        [once    => qr/gr\xc3\xbcn/,         'bytes that are published as bytes are encoded once'],
        [decoded => qr/gr\xc3\xbcn/,         'so is a structure'],
    ) {
        my ($path, $pattern, $name) = @$case;
        $es->post("/$path");
        my $stream = $es->get('/ordinary');
        $stream->next_event;
        like $stream->raw, $pattern, $name;
    }
    my ($warning) = $pod =~ /^ {4}EventSource::XS: (data looks like bytes .*)$/m;
    ok $single->log =~ /\Q$warning\E/, 'the log warns of it, as the manual quotes it';
};

done_testing;
