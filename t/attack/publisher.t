# Attack: a publisher tries to forge a gap, to keep subscribers away, to imitate events of the EventSource itself, to inject
# fields, to send invalid JSON, to fill the memory, or to send a body that does not match its length. Each such POST is
# refused or harmless, the subscribers receive what was published properly, and the server keeps running.

use lib 't/lib';
use Testing qw(native);
use EventSource::XS;
use Testing::Client;
use Testing::Developer qw(has_module);
use EventSource::Hub;
use EventSource::Parser;
use JSON::PP ();
use Plack::App::EventSource::PubSub;
use Testing::RecordingHub qw(answer);
use Testing::Server;
use Testing::SideBySide qw(run_each);
use Socket              qw(SHUT_WR);

my @JSON = ('Content-Type' => 'application/json');
my @FORM = ('Content-Type' => 'application/x-www-form-urlencoded');

# Refused POSTs: headers, body, status, and the beginning of the reason.
my $GAP      = "event must not be the name of the hub's event for gaps";
my $DAY      = 'retry must be at most 86400000 milliseconds';
my $WORD     = q(event must not be '%s': an EventSource has an event of that name of its own);
my $FINISH   = q(event must not be 'finish': clients close their stream at that event);
my $FINISHED = 'id must not be that of a finished stream';
my $CONTROL  = 'event must not contain a control character';
my $OBJECT   = 'The body is not an object in JSON';
my $DEEP     = ('[' x 600) . (']' x 600);
my @REFUSED  = (
    ['a forged gap'                   => \@JSON, '{"event":"gap","data":"{\"reason\":\"unknown\"}"}', 400, $GAP],
    ['one that is escaped'            => \@JSON, '{"event":"g\u0061p","data":"x"}',                   400, $GAP],
    ['one in a form'                  => \@FORM, 'event=g%61p&data=x',                                400, $GAP],
    ['a retry of 22 digits'           => \@JSON, '{"retry":"9999999999999999999999"}',                400, $DAY],
    ['a retry that is a large number' => \@JSON, '{"retry":86400001}',                                400, $DAY],
    ['one in a form'                  => \@FORM, 'retry=86400001',                                    400, $DAY],
    ['an event named error'           => \@JSON, '{"event":"error","data":"x"}', 400, sprintf $WORD, 'error'],
    ['an event named open'            => \@FORM, 'event=open&data=x',            400, sprintf $WORD, 'open'],
    ['an event named finish'          => \@JSON, '{"event":"finish","data":"x"}',            400, $FINISH],
    ['the id of a finished stream'    => \@JSON, '{"id":"eventsource-finished","data":"x"}', 400, $FINISHED],
    ['one in a form'                  => \@FORM, 'id=eventsource%2Dfinished&data=x',         400, $FINISHED],
    [
        'an event for positions' => \@JSON,
        '{"event":"position","data":"x"}', 400, "event must not be the name of the hub's"
    ],
    ['an event name with an escape'   => \@JSON, '{"event":"a\u001b[2J","data":"x"}', 400, $CONTROL],
    ['one with DEL'                   => \@FORM, 'event=%7F&data=x',                  400, $CONTROL],
    ['one with U+0085'                => \@FORM, 'event=%C2%85&data=x',               400, $CONTROL],
    ['an id with a control character' => \@JSON, '{"id":"\u0001","data":"x"}',        400, 'id must not contain'],
    ['an id that ends with a space'   => \@FORM, 'id=a+&data=x',                      400, 'id must not begin or end'],
    ["a field of the library's own"   => \@JSON, '{"key":"x","data":"x"}',            400, q(There is no field 'key')],
    ['an object as an id'             => \@JSON, '{"id":{"a":1},"data":"x"}',         400, 'id must be a string'],
    ['JSON that is 600 deep'          => \@JSON, qq({"json":$DEEP}),                  400, $OBJECT],
    ['a body that is compressed' => ['Content-Encoding' => 'gzip'], "\x1F\x8B\x08",   415, 'A body that is compressed'],
    ['compressed twice' => ['Content-Encoding' => 'identity, br'],          'x',  415, 'A body that is compressed'],
    ['another charset'  => ['Content-Type' => 'text/plain; charset=utf-7'], '+-', 415, 'A body in another encoding'],
    ['a body that is too long' => [], 'x' x 65_537, 413, 'The body is longer than 65536 bytes'],
);

# Accepted POSTs, and the events that subscribers receive.
my $NESTED = '[' x 510 . ']' x 510;
my $BREAKS = "a\n\nevent: gap\rdata: x\r\n\r\nid: 1";
my @TAKEN  = (
    ['a comment with fields' => \@FORM, 'comment=x%0A%0Aevent:+gap%0Adata:+x%0D%0Dretry:+1&data=1', {data => '1'}],
    ['data with fields'      => [],     $BREAKS,                 {data  => $BREAKS =~ s/\r\n?/\n/gr}],
    ['data of line breaks'   => [],     "\n" x 65_536,           {data  => "\n" x 65_536}],
    ['a NUL in data'         => [],     "a\0b",                  {data  => "a\0b"}],
    ['JSON that is 511 deep' => \@JSON, qq({"json":$NESTED}),    {data  => $NESTED}],
    ['a name with colons'    => \@FORM, 'event=data:+x&data=2',  {event => 'data: x', data => '2'}],
    ['a retry of a day'      => \@FORM, 'retry=86400000&data=3', {data  => '3'}],
);

sub post {
    my ($server, $path, $body, @headers) = @_;
    push @headers, 'Content-Length' => length $body if !grep { $_ eq 'Content-Length' } @headers;
    my $client = Testing::Client->ask($server->port, $path, method => 'POST', headers => \@headers, then => $body);
    $client->leave;
    return $client;
}

# Returns the events that an EventSource dispatches of a stream.
sub dispatched {
    my $client = shift;
    my $parser = EventSource::Parser->new;
    return [map { delete $_->{id}; $_ } grep { $_->{event} ne 'position' } $parser->feed($client->body)];
}

sub refusals {
    my $server = shift;
    for my $row (@REFUSED) {
        my ($what, $headers, $body, $status, $reason) = @$row;
        my $client = post($server, '/eventsource/news', $body, @$headers);
        is $client->status, $status, "$what: $status";
        like $client->body, qr/\A\Q$reason\E[^\n]*\n\z/, "$what: the body is the reason";
    }
    is $server->stats->{published}, 0, 'no refused POST publishes anything';
    return;
}

# A Content-Length that is invalid, or not that of the body. Some servers refuse it themselves, or close the connection. No
# server publishes anything else in place of the body.
sub lengths {
    my $server = shift;
    for my $length ('abc', '-1', '0x4', '4, 5', '4 5') {
        my $client = Testing::Client->get(
            $server->port, '/eventsource/lengths',
            method  => 'POST',
            headers => [Connection => 'close', 'Content-Length' => $length],
            then    => 'data'
        );
        $client->read_all or diag "Content-Length: $length: no whole response";
        isnt $client->status || 0, 200, "Content-Length: $length is not accepted";
    }
    is $server->stats->{published}, 0, 'no POST with a wrong length publishes anything';
    return;
}

# A body that stops in the middle. Starman ends the worker that reads it, and begins another.
sub a_client_that_leaves {
    my $server = shift;
    my $before = $server->stats->{published};
    my $client = Testing::Client->get(
        $server->port, '/eventsource/lengths',
        method  => 'POST',
        headers => ['Content-Length' => 2_000_000_000],
        then    => 'x' x 100_000
    );
    $client->leave(reset => 1);
    cmp_ok $server->stats->{published}, '<=', $before, 'a client that leaves in the middle of 2 GB publishes nothing';
    return;
}

# A body that is short enough to be read, and shorter than its Content-Length. Starman ends the worker that reads it.
sub a_short_body {
    my $server = shift;
    return if $server->{name} eq 'Starman';
    my $before = $server->stats->{published};
    my @short  = (method => 'POST', headers => ['Content-Length' => 1_000], then => 'short');
    my $client = Testing::Client->get($server->port, '/eventsource/lengths', @short);
    shutdown $client->{socket}, SHUT_WR;
    ok $client->read_all, 'a body that ends before its Content-Length: the connection ends';
    like $client->status // 'none', qr/\A(?:400|none)\z/,
        'a body that ends before its Content-Length: the status is 400 or missing';
    $client->leave;
    Testing::Client->get($server->port, '/eventsource/lengths', @short)->leave(reset => 1);
    is $server->stats->{published}, $before, 'no short POST publishes anything';
    unlike $server->log, qr/PubSub/, 'a short body causes no exception';
    return;
}

# The id that ends streams for good, by a publisher. A reader whose connection breaks next comes back with the last id that it
# has seen, and must not be sent away.
sub a_reader_stays {
    my $server = shift;
    my $reader = Testing::Client->stream($server->port, '/eventsource/stay');
    my $body   = JSON::PP::encode_json({id => Plack::App::EventSource::Connection->finished_id, data => 'go away'});
    my $status = post($server, '/eventsource/stay', $body, @JSON)->status;
    $reader->read_until(qr/^data: go away\n(?:.+\n)*\n/m) if $status == 200;
    $reader->leave;
    my $parser = EventSource::Parser->new;
    $parser->feed($reader->body);
    my $again = Testing::Client->get($server->port, '/eventsource/stay',
        headers => ['Last-Event-ID' => $parser->last_event_id]);
    $again->read_head;
    is $again->status, 200, 'a reader of an event with that id comes back and has a stream again';
    return;
}

# Many nodes, each with one event.
sub nodes {
    my $server = shift;
    my $before = $server->stats->{published};
    post($server, "/eventsource/node$_", 'x') for 1 .. 120;
    my $stats = $server->stats;
    is $stats->{published} - $before, 120, 'events are published to 120 nodes';
    cmp_ok $stats->{history}{events}, '<=', 50, 'the hub keeps no more events than its history';
    cmp_ok $stats->{channels},        '<=', 52, 'the hub keeps no more channels than have events or subscribers';
    return;
}

run_each [Testing::Server->names] => sub {
    my $name   = shift;
    my $server = Testing::Server->start($name, 't/data/publisher.psgi', workers => 1);
    my $reader = Testing::Client->stream($server->port, '/eventsource/news');
    refusals($server);
    a_reader_stays($server);
    lengths($server);

    for my $row (@TAKEN) {
        my ($what, $headers, $body) = @$row;
        is post($server, '/eventsource/news', $body, @$headers)->status, 200, "$what is published";
    }
    post($server, '/eventsource/news', 'end');
    ok $reader->read_until(qr/^data: end\n(?:.+\n)*\n/m), 'the subscriber receives the last event';
    is_deeply dispatched($reader), [map { {event => 'message', %$_} } (map { $_->[3] } @TAKEN), {data => 'end'}],
        'the subscriber receives each accepted POST as one event';
    nodes($server);
    $reader->leave;
    a_client_that_leaves($server);
    a_short_body($server);
};

subtest 'show_channel refuses a node with the name of the gap event only where it would be an event' => sub {
    for my $way ('event', 'data') {
        my $hub  = EventSource::Hub->new(show_channel => $way);
        my $app  = Plack::App::EventSource::PubSub->new(hub => $hub, authorize => sub { 1 })->to_app;
        my $post = sub {
            my ($node, $body) = @_;
            return answer($app, POST => "/$node", headers => \@JSON, content => $body)->code;
        };
        is $post->(gap => '{"data":"x"}'), $way eq 'event' ? 400 : 200, "show_channel $way: a node with the gap's name";
        is $post->(news => qq({"json":$NESTED})), 200, "show_channel $way: JSON of the greatest depth is accepted";
    }
};

# Which types are reserved depends on the settings in force.
my @OF_MAPS = qw(count forget join leave update);
subtest 'reserved types of events' => sub {
    my $post = sub {
        my ($hub_setting, $setting, $node, $event) = @_;
        my $hub = EventSource::Hub->new(@$hub_setting);
        my $app = Plack::App::EventSource::PubSub->new(hub => $hub, authorize => sub { 1 }, @$setting)->to_app;
        return answer($app, POST => "/$node", headers => \@JSON, content => JSON::PP::encode_json($event))->code;
    };
    for my $row (
        ['a node that would be the type error', [show_channel => 'event'], [], 'error',            {data => 'x'},  400],
        ['one that would be the type open',     [show_channel => 'event'], [], 'open',             {json => 1},    400],
        ['one that would be the type finish',   [show_channel => 'event'], [], 'finish',           {data => 'x'},  400],
        ['one with a prefix',                 [show_channel => 'event'], [prefix => 'fin'], 'ish', {data => 'x'},  400],
        ['such a node with another type',     [show_channel => 'event'], [], 'error', {data => 'x', event => 'x'}, 200],
        ['such a node whose name is in data', [show_channel => 'data'],  [], 'error', {data => 'x'},               200],
        ['such a node of another hub',       [],                      [], 'error', {data => 'x'},                  200],
        ['the type of gaps',                 [gap_event => 'lost'],   [], 'news',  {data => 'x', event => 'lost'}, 400],
        ['the usual type, if it is another', [gap_event => 'lost'],   [], 'news',  {data => 'x', event => 'gap'},  200],
        ['the type of positions',            [position_event => 'p'], [], 'news',  {data => 'x', event => 'p'},    400],
        [
            'that of a state, if others are no events', [position => 'id'],
            [],                                         'news',
            {data => 'x', event => 'position'},         400
        ],
        ['the type of the hub itself', [], [], 'news', {data => 'x', event => 'eventsource-hub'}, 400],
        ['that of the script',         [], [], 'news', {data => 'x', event => 'transport'},       400],
        (map { ["$_, which changes maps", [], [], 'news', {data => 'x', event => $_}, 400] } @OF_MAPS),
        (
            map { ["$_, if the hub shows keys", [show_channel => 'data'], [], 'news', {data => 'x', event => $_}, 200] }
                @OF_MAPS
        ),
        ['a node that would be of members', [show_channel => 'event'], [], 'join', {data => 'x'}, 400],
        ['the node of a hub without types', [],                        [], 'join', {data => 'x'}, 200],
    ) {
        my ($what, @given) = @$row;
        my $status = pop @given;
        is $post->(@given), $status, "$what: $status";
    }
};

subtest 'the id of a finished stream is refused to a caller, too' => sub {
    my $id = Plack::App::EventSource::Connection->finished_id;
    for my $hub (EventSource::Hub->new, EventSource::Hub->new(show_channel => 'data')) {
        my $line = __LINE__ + 1;
        ok !eval { $hub->publish(news => {id => $id, data => 1}); 1 }, 'publish throws';
        is $@->field, 'id',  'the error names the field';
        is $@->line,  $line, 'and the line of the caller';
    }
};

# JSON::MaybeXS chooses the JSON module. Whatever a module makes of a number that is too large must be JSON, or is refused.
my @MODULES = qw(Cpanel::JSON::XS JSON::XS JSON::PP);

sub with_module {
    my ($module, $body) = @_;
    my @others  = map { s{::}{/}gr . '.pm' } grep { $_ ne $module } @MODULES[0, 1];
    my $program = <<'END';
BEGIN { @INC{@others} = () }
use EventSource::XS;
use Plack::App::EventSource::PubSub;
use Testing::RecordingHub qw(answer);
my $hub = Testing::RecordingHub->new;
my $app = Plack::App::EventSource::PubSub->new(hub => $hub, authorize => sub { 1 })->to_app;
print JSON::MaybeXS::JSON(), ' ', answer($app, POST => '/n', headers => ['Content-Type' => 'application/json'], content => $body)->code, "\n";
print EventSource::XS::format_event($_->[1]) for $hub->published;
END
    $program =~ s/\@others\}/qw(@others)}/;
    $program =~ s/\$body\)/q($body))/;
    open my $out, '-|', $^X, (map { "-I$_" } @INC), '-e', $program or die "fork: $!";
    my $said = do { local $/; readline $out };
    close $out;
    return $said;
}

subtest 'a JSON number that is too large is refused or sent as JSON' => sub {
    for my $module (@MODULES) {
    SKIP: {
            skip "there is no $module here", 2 if !has_module($module);
            for my $number ('1e999', '-1e999') {
                my $said = with_module($module, qq({"json":{"a":[$number]}}));
                like $said, qr/\A\Q$module\E (?:200|400)\n/, "$module is used";
                my ($data) = $said =~ /^data: (.*)$/m;
                ok $said =~ / 400\n\z/ || eval { JSON::PP::decode_json($data) },
                    "$module: $number is refused or sent as JSON"
                    or diag $said;
            }
        }
    }
};

done_testing;
