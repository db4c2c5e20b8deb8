# Servers whose streams are not native: these are on the server's writer, the log says why, and clients see each end.

use lib 't/lib';
use Testing qw(native);
use Testing::Newest;
use Testing::Contract;
use Testing::Deadline qw($DEADLINE);
use Testing::Server;

Testing::Newest->show(qw(Plack::Handler::Gazelle Monoceros));

my %WHY = (Gazelle => 'the server does not give its socket', Monoceros => "the response's writer is not known");

for my $name (sort keys %WHY) {
    subtest $name => sub {
        my $server = Testing::Server->start($name, 't/data/hub.psgi', env => {EVENTSOURCE_XS_DEBUG => 1});
        my $client = $server->get('/hub?channels=a');
        ok $client->read_until(qr/^id: \S+\r?\n\r?\n/m), 'a stream begins';
        like $server->log, qr/on the server's writer: \Q$WHY{$name}\E/, "it is on the server's writer: $WHY{$name}";
        like $server->log, qr/occupies this worker.*\Q$WHY{$name}\E/,   'the log says what that means';
        like $server->log, qr/\Q$WHY{$name}\E; [^;]*(?:take|use) (?:a server|one)/, 'and what to do';
        kill KILL => $server->pids;
        ok $client->read_all($DEADLINE), 'the client sees the end when its worker is killed';
        ok !$client->complete,           'as a cut';
    };
}

Testing::Contract->run_basics('Monoceros');

done_testing;
