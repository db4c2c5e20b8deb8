# Firefox decodes streams with a content coding event by event: rounds, pushes between them, and the end. It has no remote
# control here; the page publishes what it sees.

use lib 't/lib';
use Testing qw(Server=Starman);
use Testing::Client;
use Testing::Developer qw(has_command needs);
use Testing::Program;
use Testing::Server qw(path);
use EventSource::XS::Request;

my ($command) = grep { has_command($_) } qw(firefox-esr firefox);
needs('Firefox is not installed') if !$command;

my $ROWS  = 5_000;    # in the large events: 10 of them are several rounds
my $LARGE = 10;
my $server =
    Testing::Server->start('Starman', 't/compression/streams.psgi', workers => 1, args => ['--keepalive-timeout', 0]);

for my $coding (grep { EventSource::XS::Request->coding($_) ne 'identity' } qw(gzip zstd)) {
    my $told = Testing::Client->get($server->port, path('/hub', accepts => 'identity', channels => 'told'));
    $told->read_head;
    my $profile = new_folder;
    my $url     = $server->url(path('/reader', accepts => $coding, name => $coding, channels => $coding));
    my $firefox = Testing::Program->new($command);
    $firefox->run({HOME => "$profile"}, $command, '--headless', '--no-remote', '--profile', "$profile", $url);
    my $sees = sub {
        my ($text, $name) = @_;
        ok $told->read_until(qr/^data: \Q$text\E/m), "$coding: $name" or diag $told->body;
    };
    $sees->('open', 'the stream is open');
    my $number = 0;
    for my $turn (1, 2) {
        for (1 .. 3) {
            $server->ask('/publish', channel => $coding, from => ++$number, rows => 50);
            $sees->("number $number.", "event $number arrives before the next is published");
        }
        $server->ask('/push', name => $coding, data => "pushed $turn");
        $sees->("pushed $turn", 'so does a push');
        $server->ask('/publish', channel => $coding, from => $number + 1, count => $LARGE, rows => $ROWS);
        $number += $LARGE;
        $sees->("number $number.", 'several rounds arrive');
    }
    $server->ask('/close', name => $coding);
    $sees->('end', 'the page sees the end');
    my ($accepted) = $told->body =~ /^data: accepts (.*)/m;
    like $accepted, qr/\bgzip\b/, "Firefox accepts $accepted";
    is_deeply [$told->body =~ /^data: number ([0-9]+)/gm], [1 .. $number], 'each event arrives once, in order';
}

done_testing;
