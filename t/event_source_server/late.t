# A hub process that begins to answer only after the first request of a worker, on servers that block: the first client receives
# what the supply emits, and a stream on the server's writer waits for that process.

use lib 't/lib';
use Testing qw(named_hubs);
use EventSource::Hub::Process;
use Testing::Client;
use Testing::Process qw(suspend);
use Testing::Program;
use Testing::Server;
use Time::HiRes qw(sleep time);

my $LATE      = 0.15;    # seconds that the hub process takes to answer: longer than a stream's request waits
my $TOO_LATE  = 0.4;     # with more, the worker may have lost its patience
my $VERY_LATE = 0.8;     # then it has
my $ATTEMPTS  = 5;

# Starts a server with one worker, and a hub process that is stopped. Returns the server, that process and its folder.
sub start {
    my ($name, %env) = @_;
    my $folder = new_folder;
    my $socket = "$folder/hub.sock";
    my $hub    = Testing::Program->new('eventsource-hub')
        ->run({}, EventSource::Hub::Process->program, qw(run --name test --socket), $socket);
    wait_until($DEADLINE, sub { -S $socket }) or die "no hub process\n";
    my $server = Testing::Server->start(
        $name,
        't/event_source_server/late.psgi',
        $name =~ /Starman|Starlet/ ? (workers => 1) : (),
        env => {HUB_SOCKET => $socket, %env},
    );
    suspend($hub->pid);
    return ($server, $hub, $folder);
}

# Requests a stream and has the hub process continue so late. Returns the client, and how long that took.
sub first_client {
    my ($server, $hub, $late) = @_;
    my $began  = time;
    my $client = Testing::Client->get($server->port, '/events');
    sleep $late;
    kill CONT => $hub->pid;
    return ($client, time - $began);
}

# Reads as an EventSource does: connects again if the stream has ended. Returns true if the event comes.
sub receives {
    my ($server, $client, $data) = @_;
    return wait_until $DEADLINE, sub {
        my ($id) = $client->text =~ /^id: (.*?)\r?$/m;
        $client =
            Testing::Client->get($server->port, '/events', headers => [defined $id ? ('Last-Event-ID' => $id) : ()])
            if $client->ended;
        return eval { $client->read_until(qr/^data: $data\r?$/m, 0.1) };
    };
}

for my $name (qw(Starman HTTP::Server::PSGI)) {
    for my $case ([0, $LATE], [0, $VERY_LATE], [1, $LATE], [1, $VERY_LATE]) {
        my ($native, $late) = @$case;
        subtest "$name, native => $native: a supply, after $late seconds" => sub {
            Testing::Server->require_or_skip_all($name);
            my ($server, $hub, $folder) = start($name, SUPPLY => 1, NATIVE => $native);
            my ($client) = first_client($server, $hub, $late);
            ok receives($server, $client, 'begun'), 'the first client receives its event';
            $_->stop for $server, $hub;
        };
    }
    subtest "$name: a stream on the writer" => sub {
        Testing::Server->require_or_skip_all($name);
        for my $attempt (1 .. $ATTEMPTS) {
            my ($server, $hub, $folder) = start($name, NATIVE => 0);
            my ($client, $seconds) = first_client($server, $hub, $LATE);
            my $stays = wait_until($DEADLINE, sub { $client->read_until(qr/^id: /m, 0.1) || $client->ended })
                && !$client->ended;
            $_->stop for $server, $hub;
            next if !$stays && $seconds > $TOO_LATE && $attempt < $ATTEMPTS;    # this process did not run meanwhile
            ok $stays, 'is served when the hub process answers' or diag $client->text;
            last;
        }
    };
}

done_testing;
