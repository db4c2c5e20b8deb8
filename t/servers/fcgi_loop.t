# FastCGI in an event loop: the worker keeps the streams of a named hub, and sees that their clients leave. Streams of a named
# hub begin on any server with an event loop that shows no socket.

use lib 't/lib';
use Testing            qw(named_hubs);
use Testing::Developer qw(needs_module);
use Testing::HubServer;
use Testing::Nginx;
use Testing::RecordingWriter;
use EventSource::Hub;

Testing::Nginx->require_or_skip_all;
needs_module('AnyEvent');

sub run_loop {
    my $end   = AnyEvent->condvar;
    my $timer = AnyEvent->timer(after => 0.01, cb => sub { $end->send });
    return $end->recv;
}

for my $name ('FCGI::EV', 'AnyEvent::FCGI') {
    subtest $name => sub {
        my $folder = new_folder;

        # For a request, these servers replace the environment, and with it EVENTSOURCE_RUNTIME_DIR.
        my %settings = (name => 'test', socket => "$folder/hub.sock", idle_exit => 1);
        my $server   = Testing::HubServer->start($name, unix => 1, settings => \%settings);
        my $nginx    = Testing::Nginx->start($server, 'FastCGI');
        my $client   = Testing::Client->stream($nginx->at, '/hub?channels=a');
        Testing::Client->ask($nginx->at, '/publish?channel=a');
        ok $client->read_until(qr/^data: 1\b/m), 'the stream has its position and an event';
        $client->leave;
        my $has_ended = sub { Testing::Client->ask($nginx->at, '/stats')->body =~ /"open":0\b/ };
        ok wait_until($DEADLINE, $has_ended), 'it ends when its client leaves';
        is $server->log, '', 'the server has nothing to say';
    };
}

subtest 'a server that shows no socket' => sub {
    my $folder = new_folder;
    my $hub    = EventSource::Hub->new(name => 'test', socket => "$folder/hub.sock", idle_exit => 1);
    my $app    = $hub->to_app(channels => sub { return 'a' }, native => 'quiet');
    my $writer = Testing::RecordingWriter->new;
    my %env    = (REQUEST_METHOD => 'GET', PATH_INFO => '/', 'psgi.nonblocking' => 1, 'psgi.errors' => \*STDERR);
    run_loop();    # chooses it
    $app->(\%env)->(sub { return $writer });
    ok wait_until($DEADLINE, sub { run_loop(); return $writer->kept =~ /^event: position/m }), 'a stream begins';
};

done_testing;
