# The hub process is upgraded while a handler runs: the stream of that handler is not at rest, so its client comes back.

use lib 't/lib';
use Testing qw(native named_hubs);
use Testing::Client;
use Testing::ControlledProcess qw(output_of);
use Testing::Server;
use Testing::SourceTree qw(write_file);
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

done_testing;
