# An EventSource::Server on real servers: clients, reconnects, the end, and what each kind of server can read.

use strict;
use warnings;

use lib 't/lib';
use Testing::Client;
use Testing::Deadline  qw(wait_until);
use Testing::Developer qw(needs only_developers);
use EventSource::XS;
use File::Temp ();
use POSIX      qw(mkfifo);
use Testing::Server;
use Test::More;
BEGIN { plan skip_all => 'there is no native writer on this system' if !EventSource::XS->can('_next_end') }

only_developers();

my $DEADLINE = 10;    # seconds; for what should happen at once

my $PSGI = 't/event_source_server/servers.psgi';

# One process, which is not replaced after some requests.
my %START = (
    'Starman' => [workers => 1, args => ['--max-requests',       1_000_000]],
    'Starlet' => [workers => 1, args => ['--max-reqs-per-child', 1_000_000]],
    'uWSGI'   => [workers => 1],
);

my $server;

sub ask {
    my $path   = shift;
    my $client = Testing::Client->get($server->port, $path, headers => [Connection => 'close']);
    $client->read_all && $client->complete or die "$path was not answered\n";
    return $client->status == 200 ? $client->body : $client->status;
}

# A client whose stream has begun: its first block is its position.
sub stream {
    my ($name, $last_event_id) = @_;
    my @headers = defined $last_event_id ? (headers => ['Last-Event-ID' => $last_event_id]) : ();
    my $client  = Testing::Client->get($server->port, "/$name", @headers);
    $client->read_until(qr/^id: \S+\n\n/m) or die "no stream of $name: " . ($client->status // 'nothing') . "\n";
    return $client;
}

sub has_ok {
    my ($client, $text, $what) = @_;
    return ok($client->read_until(qr/\Q$text\E/), $what) || diag $client->body;
}

# The data of all events of a body.
sub data { return [$_[0]->body =~ /^data: (.*)$/mg] }

# The last id of a body.
sub last_id { return ($_[0]->body =~ /^id: (\S+)$/mg)[-1] }

my @TESTS = (
    'two clients' => sub {
        my @clients = (stream('plain'), stream('plain'));
        my $id      = ask('/emit/plain?tick=one');
        has_ok($_, "id: $id\nevent: tick\ndata: one\n\n", 'have the same event') for @clients;
        is $clients[0]->header('Content-Type'),      'text/event-stream; charset=utf-8', "the original's type";
        is $clients[0]->header('Cache-Control'),     'must-revalidate, no-cache',        'and caching';
        is $clients[0]->header('X-Accel-Buffering'), 'no',                               'and a word for nginx';
        $clients[0]->leave;
        ask('/emit/plain?tick=two');
        has_ok($clients[1], "data: two\n\n", 'one goes on without the other');
        is_deeply data($clients[1]), ['one', 'two'], 'and has each once';
        $clients[1]->leave;
    },

    'a client that comes back' => sub {
        my $client = stream('plain');
        ask('/emit/plain?tick=seen');
        has_ok($client, "data: seen\n\n", 'has had one');
        my $seen = last_id($client);
        $client->leave;
        ask('/emit/plain?tick=missed');
        $client = stream('plain', $seen);
        ask('/emit/plain?tick=new');
        has_ok($client, "data: new\n\n", 'has what is new');
        is_deeply data($client), ['missed', 'new'], 'after what it has missed';
        $client->leave;
        $client = Testing::Client->get($server->port, "/plain?lastEventId=$seen");
        has_ok($client, "data: new\n\n", 'the query may say what it had');
        is_deeply data($client), ['missed', 'new'], 'too';
        $client->leave;
        $client = stream('plain', 'of-another-life');
        has_ok($client, "event: gap\n", 'one that cannot be told what it missed is told that');
        $client->leave;
        my $first = stream('plain');
        ask('/emit/plain?tick=last');
        has_ok($first, "data: last\n\n", 'a new one');
        is_deeply data($first), ['last'], 'has what comes from then on';
        $first->leave;
    },

    'a supply of code' => sub {
        is ask('/runs/code'), 0, 'has not begun';
        my $first = stream('code');
        has_ok($first, "event: begun\n", 'begins with the first client, which has its first event');
        my $second = stream('code');
        ask('/supplies/code?tick=one');
        has_ok($_, "data: one\n\n", 'and each what it emits') for $first, $second;
        is ask('/runs/code'), 1, 'it has begun once';
        ask('/emit/code?tick=own');
        has_ok($_, "data: own\n\n", 'and what is emitted to the server itself is there too') for $first, $second;
        is_deeply data($second), ['one', 'own'], 'the second has what came after it';
        $_->leave for $first, $second;
    },

    'a supply that dies' => sub {
        my $first = Testing::Client->get($server->port, '/dies');
        ok $first->read_all, 'ends its streams';
        is $first->status, 200, 'which have begun';
        ok wait_until($DEADLINE, sub { $server->log =~ /^EventSource::Server: the supply died: oops$/m }), 'it is said';
        my $again = stream('dies');
        has_ok($again, "event: begun\ndata: 2\n\n", 'and begins anew for the next');
        my $other = stream('dies');
        is ask('/quit/dies?later'), 'quit', 'it may die later, in whatever the process does then';
        ok $_->read_all, 'a stream ends' for $again, $other;
        ok wait_until($DEADLINE, sub { $server->log =~ /^EventSource::Server: the supply died: later$/m }),
            'it is said';
        is ask('/runs/dies'), 2, 'the worker goes on';
    },

    'a server of one stream' => sub {
        my $client = stream('own');
        has_ok($client, "event: begun\ndata: 1\n\n", 'need not be kept');
        ask('/supplies/own?tick=two');
        has_ok($client, "data: two\n\n", 'while its stream is there');
        my $other = stream('own');
        has_ok($other, "event: begun\ndata: 2\n\n", 'and each has its own');
        $other->leave;
        ok wait_until($DEADLINE, sub { ask('/supplies/own?tick=late') eq 'none' }), 'it ends with it';
        $client->leave;
    },

    'keepalive' => sub {
        my $client = stream('kept');
        my $begun  = length $client->body;
        ok $client->read_until(qr/\A.{$begun}[^\n]+\n\n[^\n]+\n\n/s), 'something is sent when it is quiet';
        is_deeply data($client), [], 'which is no event';
        $client->leave;
    },

    'another server as supply' => sub {
        my $client = stream('second');
        ask('/emit/plain?tick=through');
        has_ok($client, "event: tick\n",     'hands its events on');
        has_ok($client, "data: through\n\n", 'whole');
        $client->leave;
    },

    'a channel of a hub' => sub {
        ask('/emit/shared?tick=one');
        ask('/publish/other?aside');
        my $client = stream('shared');
        has_ok($client, "data: one\n\n", 'may begin with what was there');
        ask('/publish/shared?two');
        has_ok($client, "data: two\n\n", 'and has what others publish');
        is_deeply data($client), ['one', 'two'], 'in that channel alone';
        ask('/stop/shared');
        ok $client->read_all, 'when it is stopped its streams end';
        like ask('/publish/shared?later'), qr/\A\S+-[0-9]+\z/, 'and the hub goes on';
    },

    'several processes' => sub {
        my $warned = qr/^EventSource::Hub: this server has several processes/m;
        unlike $server->log, $warned, 'are no matter where there is a supply, or it is meant';
        stream('lone')->leave;
        return unlike $server->log, $warned, 'nor where there is but one' if $server->{name} !~ /\AStar/;
        ok wait_until($DEADLINE, sub { $server->log =~ $warned }), 'but are warned of otherwise';
    },

    'stop' => sub {
        my @clients = (stream('plain'), stream('plain'));
        is ask('/many-and-stop/plain?3000'), 3000, 'after many events at once';
        for my $client (@clients) {
            ok $client->read_all, 'ends the stream';
            ok $client->complete, 'whole';
            is_deeply data($client), [1 .. 3000], 'with all of them';
        }
        is ask('/plain'),                204,       'who comes then is told not to come back';
        is ask('/emit/plain?tick=late'), 'none',    'what is emitted then is sent to nobody';
        is ask('/stop/plain'),           'stopped', 'it may be stopped again';
        ok wait_until($DEADLINE, sub { ask('/streams/all') == 0 }), 'no stream is left';
    },
);

# What only an event loop can read.
my @BY_LOOP = (
    'an iterator' => sub {
        my @clients = (stream('iterator'), stream('iterator'));
        has_ok($clients[0], "data: 10000\n\n", 'is read to its end');
        is_deeply data($clients[0]), [1 .. 10_000], 'into the first stream, all of it';
        $_->leave for @clients;
    },

    'a filehandle' => sub {
        my $fifo   = shift;
        my $client = stream('lines');
        open my $to, '+<', $fifo or die "$fifo: $!";
        syswrite $to, "one\ntw";
        has_ok($client, "data: one\n\n", 'is read');
        ask('/emit/lines?between=them');
        has_ok($client, "data: them\n\n", 'while others emit');
        syswrite $to, "o\n";
        has_ok($client, "data: two\n\n", 'a line that came in pieces is one event');
        $client->leave;
    },

    'a stream on the writer of the server' => sub {
        my @clients = (stream('writer'), stream('writer'));
        ask('/many/writer?100');
        has_ok($_, "data: 100\n\n", 'has the events too') for @clients;
        is_deeply data($_), [1 .. 100], 'all of them' for @clients;
        ask('/stop/writer');
        ok $_->read_all, 'and ends' for @clients;
    },
);

my @WITHOUT_LOOP = (
    'an iterator or a filehandle' => sub {
        for my $name (qw(iterator lines)) {
            is ask("/$name"), 500, "$name is refused";
            my $what = $name eq 'lines' ? 'a filehandle' : 'an iterator';
            my $said = "EventSource::Server: $what as supply is read by an event loop, which this server does not have";
            ok wait_until($DEADLINE, sub { $server->log =~ /\Q$said\E/ }), 'which is said'
                if $server->{name} eq 'Starman';
        }
    },

    'a stream on the writer of the server' => sub {
        my $client = Testing::Client->get($server->port, '/served');
        has_ok($client, "event: begun\n", 'begins the supply, and has its first event');
        has_ok($client, "data: 1\n\n",    'whole');
        $client->leave;
        is ask('/runs/served'), 1, 'and lets the worker go';
    },
);

my $folder = File::Temp->newdir;
my $fifo   = "$folder/lines";
mkfifo($fifo, 0600) or die "$fifo: $!";

for my $name (qw(HTTP::Server::PSGI Starman Starlet uWSGI Twiggy Feersum)) {
    subtest $name => sub {
        needs(Testing::Server->missing($name));
        $server = Testing::Server->start($name, $PSGI, @{$START{$name} || []}, env => {SUPPLY_LINES => $fifo});
        my @tests = ($name =~ /Twiggy|Feersum/ ? @BY_LOOP : @WITHOUT_LOOP, @TESTS);
        while (my ($what, $test) = splice @tests, 0, 2) {
            subtest $what => sub { $test->($fifo) };
        }
        $server->stop;
    };
}

done_testing;
