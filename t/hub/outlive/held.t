# Upgrades while a handler runs: the stream of that handler is not at rest, so its client comes back.

use lib 't/lib';
use Testing qw(native named_hubs);
use Testing::Client;
use Testing::Server;
use Testing::SourceTree qw(write_file);
use Testing::Process    qw(suspend);
use EventSource::Hub::Process;

Testing::Server->require_or_skip_all('Feersum');

for my $name ('Feersum', Testing::Server->tested(qw(Starman Twiggy))) {
    subtest "$name: the client is told when to come back, and the response is complete" => sub {
        my $folder = new_folder;
        my $server = Testing::Server->start($name, 't/data/held.psgi', env => {HELD_FOLDER => $folder});
        my $client = Testing::Client->get($server->port, '/');
        ok wait_until($DEADLINE, sub { -e "$folder/runs" }), 'the handler runs';
        my @place = (name => 'test', socket => "$folder/hub.sock");
        my $hub   = EventSource::Hub::Process->connect(@place);
        ok wait_until($DEADLINE, sub { $hub->stats->{streams} }), 'the hub process has the stream';
        like +EventSource::Hub::Process->upgrade(@place), qr/: 0 streams stay/, 'the hub process is upgraded';
        eventually_ok $DEADLINE, 'the stream has ended there' => sub { !$hub->stats->{streams} };
        write_file("$folder/ends", '');
        ok $client->read_all, 'the response ends';
        ok $client->complete, 'as a whole';
        like $client->text, qr/^retry: [0-9]+\r?\n\z/m, 'with a retry';
        $hub->stop;
    };
}

# On a server that blocks, a relay looks for its client while it waits for the hub process, as it does at an upgrade.
subtest 'a client that leaves while its relay waits for the hub process is no fault' => sub {
    my $folder = new_folder;
    my @place  = (name => 'test', socket => "$folder/hub.sock");
    my $hub    = EventSource::Hub::Process->connect(@place, autostart => 1);
    suspend($hub->pid);
    my $server = Testing::Server->start('Starman', 't/data/held.psgi', workers => 1, env => {HELD_FOLDER => $folder});
    my $client = Testing::Client->get($server->port, '/writer');
    write_file("$folder/ends", '');
    ok wait_until($DEADLINE, sub { -e "$folder/runs" }), 'the handler runs';
    $client->leave;
    my $next = Testing::Client->get($server->port, '/writer');
    ok $next->read_head, 'the worker serves the next client' or diag $server->log;
    unlike $server->log, qr/undefined value/, 'and has reported nothing';
    kill CONT => $hub->pid;
    $next->leave;
    $hub->stop;
};

done_testing;
