# The length of a push tells nothing about what else was sent to its stream or to others (BREACH): the bytes of a push on the
# wire are the same, whatever was published and pushed before.

use lib 't/lib';
use Testing qw(native Server=Starman);
use Testing::Client;
use Testing::CommandLine;
use Testing::Server qw(path);
use EventSource::XS::Request;
use JSON::PP ();

my @CODINGS = grep { EventSource::XS::Request->coding($_) ne 'identity' } qw(gzip zstd);
my $TEXT    = 'the token of the session is 7d3f1c9e0b and the same text is pushed again: ' . 'abcdefghij' x 20;
my %END     = ('/lf' => "\n", '/held' => "\r\n");

my $shell = Testing::CommandLine->new;

# Opens a stream. Its body is the coded bytes.
sub stream {
    my ($server, $coding, $path, %query) = @_;
    my $client = Testing::Client->get($server->port, path($path, name => 'n', %query),
        headers => ['Accept-Encoding' => $coding]);
    $client->read_head or die "no head\n";
    is $client->header('Content-Encoding'), $coding, "$coding";
    return $client;
}

# Returns the body of a stream that is closed.
sub closed {
    my ($server, $client) = @_;
    $server->ask('/close', name => 'n');
    $client->read_all or die "no end\n";
    return $client->body;
}

# The bytes of the push: by how much a stream is longer with it. A preamble comes before it, the end of the coding after it.
sub bytes_of_push {
    my ($server, $coding, $path) = @_;
    my $without = closed($server, stream($server, $coding, $path));
    my $with    = closed($server, stream($server, $coding, $path, first => $TEXT));
    my $end     = {gzip => 10, zstd => 3}->{$coding};
    return substr $with, length($without) - $end, length($with) - length $without;
}

# Each case pushes the text once more after something that has the same text.
my %CASE = (
    'pushes of the handler, together' => sub {
        my ($server, $coding, $path, $bytes) = @_;
        my $body = closed($server, stream($server, $coding, $path, first => "$TEXT,$TEXT,$TEXT"));
        return [$body, 3];
    },
    'an earlier push to the stream' => sub {
        my ($server, $coding, $path, $bytes) = @_;
        my $client = stream($server, $coding, $path, first => $TEXT);
        ok $client->read_until(qr/\Q$bytes\E/), 'the first push has these bytes';
        $server->ask('/push', name => 'n', data => $TEXT);
        return [closed($server, $client), 2];
    },
    'events of the hub, in a round' => sub {
        my ($server, $coding, $path, $bytes) = @_;
        my $client = stream($server, $coding, $path, channels => 'news');
        my $before = 0;
        for my $text ($TEXT, reverse($TEXT), $TEXT) {
            $server->ask('/publish', data => $text);
            ok $client->read_until(qr/\A.{$before}.+/s), 'an event of the hub arrives';
            $before = length $client->body;
        }
        $server->ask('/push', name => 'n', data => $TEXT);
        return [closed($server, $client), 1];
    },
    'events of the hub that wait together with it' => sub {
        my ($server, $coding, $path, $bytes) = @_;
        my $client = stream($server, $coding, $path, channels => 'news', first => $TEXT);
        $server->ask('/both', name => 'n', data => $TEXT);
        return [closed($server, $client), 2];
    },
);

sub run {
    my ($server, $named) = @_;
    for my $coding (@CODINGS) {
        for my $path (sort keys %END) {
            my $bytes = bytes_of_push($server, $coding, $path);
            cmp_ok length $bytes, '>', 20, "$coding: a push takes " . length($bytes) . ' bytes';
            for my $name (sort keys %CASE) {
                subtest "$coding, $path: $name" => sub {
                    my ($body, $count) = @{$CASE{$name}->($server, $coding, $path, $bytes)};
                    is(() = $body =~ /\Q$bytes\E/g, $count, 'each push has the same bytes as alone');
                };
            }
        }
    }
    return;
}

my @server = ('Starman', 't/compression/streams.psgi', workers => 1);
subtest 'a hub of the process' => sub {
    my $server = Testing::Server->start(@server);
    run($server);
};
subtest 'a named hub' => sub {
    my %env = (
        EVENTSOURCE_RUNTIME_DIR => $shell->folder,
        HUB_SETTINGS            => JSON::PP::encode_json({name => 'lengths', idle_exit => 1})
    );
    my $server = Testing::Server->start(@server, env => \%env);
    run($server);
};

done_testing;
