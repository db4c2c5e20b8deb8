# EventSource::Server on real PSGI servers: clients, reconnects, stop, and the supplies that each server can read.

use lib 't/lib';
use Testing qw(native);
use Testing::Client;
use POSIX qw(mkfifo);
use Testing::Server;
use Test::EventSource;

my $PSGI = 't/event_source_server/servers.psgi';

my $server;

sub ask {
    my $path   = shift;
    my $client = Testing::Client->ask($server->port, $path);
    $client->complete or die "$path was not answered\n";
    return $client->status == 200 ? $client->body : $client->status;
}

# A client that has received the first block of its stream, which is its position.
sub stream {
    my ($name, $last_event_id) = @_;
    my @headers = defined $last_event_id ? (headers => ['Last-Event-ID' => $last_event_id]) : ();
    return Testing::Client->stream($server->port, "/$name", @headers);
}

sub has_ok {
    my ($client, $text, $what) = @_;
    return ok($client->read_until(qr/\Q$text\E/), $what) || diag $client->body;
}

# The data of all events of a body. A position is not an event of the application.
sub data { return [$_[0]->body =~ s/^event: position\ndata: \n//mgr =~ /^data: (.*)$/mg] }

# The last id of a body.
sub last_id { return ($_[0]->body =~ /^id: (\S+)$/mg)[-1] }

my @TESTS = (
    'two clients receive the same events' => sub {
        my @clients = (stream('plain'), stream('plain'));
        my $id      = ask('/emit/plain?tick=one');
        has_ok($_, "event: tick\ndata: one\nid: $id\n\n", 'a client receives the event with its id') for @clients;
        is $clients[0]->header('Content-Type'), 'text/event-stream; charset=utf-8',
            "the content type is that of the Raku module";
        is $clients[0]->header('Cache-Control'), 'must-revalidate, no-cache, no-transform',
            'the response is not to be cached';
        is $clients[0]->header('X-Accel-Buffering'), 'no', 'the header tells nginx not to buffer';
        $clients[0]->leave;
        ask('/emit/plain?tick=two');
        has_ok($clients[1], "data: two\nid: ", 'a client receives events after another has left');
        is_deeply data($clients[1]), ['one', 'two'], 'each event is received once';
        $clients[1]->leave;
    },

    'a client that reconnects receives what it has missed' => sub {
        my $client = stream('plain');
        ask('/emit/plain?tick=seen');
        has_ok($client, "data: seen\nid: ", 'the client receives an event before it leaves');
        my $seen = last_id($client);
        $client->leave;
        ask('/emit/plain?tick=missed');
        $client = stream('plain', $seen);
        ask('/emit/plain?tick=new');
        has_ok($client, "data: new\nid: ", 'the reconnected client receives the new event');
        is_deeply data($client), ['missed', 'new'], 'the missed event precedes the new one';
        $client->leave;
        $client = Testing::Client->get($server->port, "/plain?lastEventId=$seen");
        has_ok($client, "data: new\nid: ", 'the query parameter lastEventId resumes too');
        is_deeply data($client), ['missed', 'new'], 'the query parameter replays the missed event first';
        $client->leave;
        $client = stream('plain', 'of-another-life');
        has_ok($client, "event: gap\n", 'an unknown Last-Event-ID causes a gap event');
        $client->leave;
        my $first = stream('plain');
        ask('/emit/plain?tick=last');
        has_ok($first, "data: last\nid: ", 'a client without a Last-Event-ID receives the next event');
        is_deeply data($first), ['last'], 'a client without a Last-Event-ID receives no earlier event';
        $first->leave;
    },

    'a supply of code starts once, with the first client' => sub {
        is ask('/runs/code'), 0, 'the supply has not started before the first client';
        my $first = stream('code');
        has_ok($first, "event: begun\n", "the first client receives the supply's first event");
        my $second = stream('code');
        ask('/supplies/code?tick=one');
        has_ok($_, "data: one\nid: ", 'each client receives what the supply emits') for $first, $second;
        is ask('/runs/code'), 1, 'the supply has started once';
        ask('/emit/code?tick=own');
        has_ok($_, "data: own\nid: ", 'each client receives what is emitted to the server itself') for $first, $second;
        is_deeply data($second), ['one', 'own'], 'the second client receives no earlier event';
        $_->leave for $first, $second;
    },

    'a supply that dies ends its streams and starts again' => sub {
        my $first = Testing::Client->get($server->port, '/dies');
        ok $first->read_all, 'the stream ends when the supply dies';
        is $first->status, 200, "the stream's status is 200";
        ok wait_until(sub { $server->log =~ /^EventSource::Server: the supply died: oops$/m }),
            "the failure is in the server's log";
        my $again = stream('dies');
        has_ok($again, "event: begun\ndata: 2\nid: ", 'the supply starts again with the next client');
        my $other = stream('dies');
        is ask('/quit/dies?later'), 'quit', 'the supply fails during another request';
        ok $_->read_all, 'each stream ends when the supply fails later' for $again, $other;
        ok wait_until(sub { $server->log =~ /^EventSource::Server: the supply died: later$/m }),
            "the failure is in the server's log";
        is ask('/runs/dies'), 2, 'the worker has started the supply twice and still answers';
    },

    'a server that only its stream holds lives as long as the stream' => sub {
        my $client = stream('own');
        has_ok($client, "event: begun\ndata: 1\nid: ", "the stream receives the supply's event");
        ask('/supplies/own?tick=two');
        has_ok($client, "data: two\nid: ", 'the supply still emits to the stream');
        my $other = stream('own');
        has_ok($other, "event: begun\ndata: 2\nid: ", 'another request has a server of its own');
        $other->leave;
        ok wait_until(sub { ask('/supplies/own?tick=late') eq 'none' }), 'the server is freed when its stream ends';
        $client->leave;
    },

    'a quiet stream receives keepalives that are not events' => sub {
        my $client = stream('kept');
        ok $client->read_until(qr/^keepalive: [0-9.]+\n/m), 'it is said how long the stream may be silent';
        my $begun = length $client->body;
        ok $client->read_until(qr/\A.{$begun}:\n:\n/s), 'two comments are received while nothing is emitted';
        is_deeply data($client), [], 'the comments have no data';
        $client->leave;
    },

    'a server whose supply is another server passes its events' => sub {
        my $client = stream('second');
        ask('/emit/plain?tick=through');
        has_ok($client, "event: tick\n",       "the event's type is passed");
        has_ok($client, "data: through\nid: ", "the event's data is passed");
        $client->leave;
    },

    'a server on a given hub uses its channel only' => sub {
        ask('/emit/shared?tick=one');
        ask('/publish/other?aside');
        my $client = stream('shared');
        has_ok($client, "data: one\nid: ", 'start replays the last event of the channel');
        ask('/publish/shared?two');
        has_ok($client, "data: two\nid: ", 'an event that was published to the channel is received');
        is_deeply data($client), ['one', 'two'], 'nothing of another channel is received';
        ask('/stop/shared');
        ok $client->read_all, 'the stream ends when the server is stopped';
        like ask('/publish/shared?later'), qr/\A\S+-[0-9]+\z/, 'the hub still publishes after the server is stopped';
    },

    'only a server without supply on several processes is warned of' => sub {
        my $warned = qr/^EventSource::Hub: this server may have several processes/m;
        unlike $server->log, $warned, 'no warning with a supply or with per_process';
        stream('lone')->leave;
        return unlike $server->log, $warned, 'no warning on a server with one process' if $server->{name} !~ /\AStar/;
        ok wait_until(sub { $server->log =~ $warned }), 'a warning without a supply on several processes';
    },

    'stop ends streams after they have received everything' => sub {
        my @clients = (stream('plain'), stream('plain'));
        is ask('/many-and-stop/plain?3000'), 3000, 'many events are emitted before the stop';
        for my $client (@clients) {
            ok $client->read_all, 'the stream ends';
            ok $client->complete, 'the response is complete';
            is_deeply data($client), [1 .. 3000], 'the stream has all events';
        }
        is ask('/plain'),                204,       'a client after the stop is answered with 204';
        is ask('/emit/plain?tick=late'), 'none',    'emit after the stop returns undef';
        is ask('/stop/plain'),           'stopped', 'a second stop does nothing';
        ok wait_until(sub { ask('/streams/all') == 0 }), 'no stream is open after the stop';
    },
);

# On servers with an event loop.
my @BY_LOOP = (
    'an iterator is read to its end' => sub {
        my @clients = (stream('iterator'), stream('iterator'));
        has_ok($clients[0], "data: 10000\nid: ", 'the client receives the last value');
        is_deeply data($clients[0]), [1 .. 10_000], 'the first client receives all values';
        $_->leave for @clients;
    },

    'a filehandle is read line by line' => sub {
        my $fifo   = shift;
        my $client = stream('lines');
        open my $to, '+<', $fifo or die "$fifo: $!";
        syswrite $to, "one\ntw";
        has_ok($client, "data: one\nid: ", 'the client receives a complete line');
        ask('/emit/lines?between=them');
        has_ok($client, "data: them\nid: ", 'the client receives an event emitted between two lines');
        syswrite $to, "o\n";
        has_ok($client, "data: two\nid: ", 'a line that was written in pieces is one event');
        $client->leave;
    },

    "a stream on the server's writer receives the events" => sub {
        my @clients = (stream('writer'), stream('writer'));
        ask('/many/writer?100');
        has_ok($_, "data: 100\nid: ", 'the client receives the last event') for @clients;
        is_deeply data($_), [1 .. 100], 'the client receives all events' for @clients;
        ask('/stop/writer');
        ok $_->read_all, 'the stream ends when the server is stopped' for @clients;
    },
);

my @WITHOUT_LOOP = (
    'a request to a supply that needs an event loop croaks' => sub {
        for my $name (qw(iterator lines)) {
            is ask("/$name"), 500, "a request to a supply of kind $name is answered with 500";
            my $what = $name eq 'lines' ? 'a filehandle' : 'an iterator';
            my $said = "EventSource::Server: $what as supply needs an event loop, which this server does not have";
            next if $server->{name} ne 'Starman';
            my $remedy = 'Use a server that has one (psgi.nonblocking), or read the supply in code';
            my $place  = qr{ at [^\n]*/servers[.]psgi line [0-9]+[.]$}m;
            ok wait_until(sub { $server->log =~ /^\Q$said. $remedy\E:.*$place/m }),
                "the server's log has the error, the remedy and the line of the application";
        }
    },

    "a stream on the server's writer receives the events" => sub {
        my $client = Testing::Client->get($server->port, '/served');
        has_ok($client, "event: begun\n", "the client receives the first event's type");
        has_ok($client, "data: 1\nid: ",  "the client receives the first event's data");
        $client->leave;
        is ask('/runs/served'), 1, 'the worker answers after the client has left';
    },
);

my $folder = new_folder;
my $fifo   = "$folder/lines";
mkfifo($fifo, 0600) or die "$fifo: $!";

# Each server; some a second time with named hubs.
my $has_program = eval { Test::EventSource->private_hub; 1 };
my @servers     = map { [$_] } Testing::Server->names;
push @servers, map { [$_, 'named'] } $has_program ? Testing::Server->tested(qw(Starman Twiggy Feersum)) : ();

for my $case (@servers) {
    my ($name, $hub) = @$case;
    subtest join(', ', @$case) => sub {
        my %env = (SUPPLY_LINES => $fifo, $hub ? (SERVER_HUB => "$hub-$name") : ());
        $server = Testing::Server->start($name, $PSGI, workers => 1, env => \%env);
        my @tests = ($name =~ /Twiggy|Feersum/ ? @BY_LOOP : @WITHOUT_LOOP, @TESTS);
        while (my ($what, $test) = splice @tests, 0, 2) {
            subtest $what => sub { $test->($fifo) };
        }
        $server->stop;
    };
}

done_testing;
