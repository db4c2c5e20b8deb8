# The MCP server of examples/mcp with the version 2026-07-28, which has no sessions, on Starman with four workers: one POST is
# one stream. mcp.t has the versions with sessions; xt/examples/mcp_*.t run the conformance suite and the official clients.

use lib     qw(t/lib examples/live/lib);
use Testing qw(Server=Starman);
use Encode  qw(encode_utf8);
use EventSource::Hub;
use JSON::PP     qw(decode_json encode_json);
use MIME::Base64 qw(encode_base64);
use Live::Processes;
use Test::EventSource;
use Testing::Process    qw(none_runs);
use Testing::SourceTree qw(write_file);

Testing->need('named_hubs');

# The tools of the example, and two more.
my $folder = new_folder;
write_file("$folder/tools.pl", <<'TOOLS');
my $tools    = do './examples/mcp/tools.pl' or die $@ || $!;
my $question = sub { {method => 'elicitation/create', params => {message => shift}} };
return {
    %$tools,
    ask_twice => {
        is_job => 1,
        input  => {type => 'object', properties => {}},
        run    => sub {
            my ($given, $call) = @_;
            my %name = $call->ask(name => $question->('Name?'));
            my %town = $call->ask(town => $question->("Town, $name{name}{content}?"));
            return {content => [{type => 'text', text => "$name{name}{content}, $town{town}{content}"}]};
        },
    },
    change => {
        is_job => 1,
        input  => {type => 'object', properties => {}},
        run    => sub { $_[1]->log(warning => 'changes'); $_[1]->notify('tools/list_changed'); return {content => []} },
    },
};
TOOLS

my %env    = (MCP_SOCKET => "$folder/hub.sock", MCP_TOOLS => "$folder/tools.pl");
my $hub    = EventSource::Hub->new(name => 'mcp', socket => $env{MCP_SOCKET});
my $server = Testing::Server->start('Starman', 'examples/mcp/app.psgi', workers => 4, env => \%env);
my $es     = Test::EventSource->new(url => $server->url(''), timeout => 10);
my $P      = 'io.modelcontextprotocol';
my $number = 0;

# The options of a request: a client that can be asked, with the headers that name what the content has.
sub request {
    my ($method, $params, %with) = @_;
    my %meta = ("$P/protocolVersion" => '2026-07-28', "$P/clientCapabilities" => {elicitation => {}, sampling => {}});
    my %message = (jsonrpc => '2.0', id => $with{id} // ++$number, method => $method);
    %meta = (%meta, %{$with{meta} || {}});
    delete @meta{@{$with{without} || []}};
    my %all     = (_meta => \%meta, %$params);
    my %headers = (
        Accept                 => 'application/json, text/event-stream',
        'MCP-Protocol-Version' => '2026-07-28',
        'Mcp-Method'           => $method,
        exists $params->{name} ? ('Mcp-Name' => $params->{name}) : (),
        %{$with{headers} || {}},
    );
    return (
        json    => {%message, params => \%all},
        headers => [map { ($_ => $headers{$_}) } grep { defined $headers{$_} } keys %headers]
    );
}

sub post   { return $es->post('/', request(@_)) }
sub result { return decode_json(shift->content)->{result} }

sub error_is {
    my ($response, $status, $code, $name) = @_;
    my $message = decode_json($response->content);
    return is_deeply [$response->code, $message->{error}{code}, $message->{id}], [$status, $code, $number], $name;
}

sub next_message {
    my $event = shift->next_event or return {};
    return decode_json(encode_utf8($event->{data}));
}

sub call {
    my ($name, $arguments, %with) = @_;
    my %params = (name => $name, arguments => $arguments, %{$with{params} || {}});
    return $es->stream('POST', '/', request('tools/call', \%params, meta => {progressToken => 'token'}, %with));
}

# The last message of a call.
sub outcome {
    my $stream = call(@_);
    my $message;
    do { $message = next_message($stream) } while $message->{method};
    $stream->ends_ok;
    return $message;
}

sub hear {
    my ($id, %notifications) = @_;
    my $stream =
        $es->stream('POST', '/', request('subscriptions/listen', {notifications => \%notifications}, id => $id));
    my $first = next_message($stream);
    is $first->{method}, 'notifications/subscriptions/acknowledged', "the stream $id begins with its acknowledgement";
    my %heard =
        map { ($_ => JSON::PP::true) } grep { $_ eq 'toolsListChanged' && $notifications{$_} } keys %notifications;
    is_deeply $first->{params}, {_meta => {"$P/subscriptionId" => $id}, notifications => \%heard},
        'with what it will have';
    return $stream;
}

sub jobs { return $hub->process->subscribers('jobs') }

subtest 'what is answered at once' => sub {
    my $discovered = result(post('server/discover', {}));
    is_deeply $discovered->{supportedVersions}, [qw(2026-07-28 2025-11-25 2025-06-18 2025-03-26)], 'server/discover';
    is $discovered->{_meta}{"$P/serverInfo"}{name}, 'eventsource-example', 'each result says whose it is';
    my $listed = result(post('tools/list', {}));
    is_deeply [@$listed{qw(cacheScope resultType ttlMs)}], ['public', 'complete', 60_000], 'the list may be cached';
    my %add      = (name             => 'add', arguments       => {a => 1, b => 2});
    my %legacy   = ('Mcp-Session-Id' => 'x',   'Last-Event-ID' => '0' x 32 . '/1');
    my $response = post('tools/call', \%add, headers => \%legacy);
    is $response->header('Content-Type'),     'application/json', 'a tool that takes no time answers with JSON';
    is result($response)->{content}[0]{text}, 3,                  'headers of other versions are ignored';
    is $response->header('Mcp-Session-Id'),   undef,              'there is no session';
    my $stream =
        $es->stream('POST', '/', request('tools/call', \%add, headers => {Accept => 'text/event-stream, */*'}));
    is next_message($stream)->{result}{resultType}, 'complete', 'a client that names streams first is sent one';
    $stream->ends_ok;
    my $name = '=?base64?' . encode_base64('add', '') . '?=';
    is post('tools/call', \%add, headers => {'Mcp-Name' => $name})->code, 200, 'a name may be encoded';
    my %notification = (jsonrpc => '2.0', method => 'notifications/other');
    is post('x', {}, headers => {})->code,                             404, 'an unknown method';
    is $es->post('/', request('x', {}), json => \%notification)->code, 202, 'a notification is accepted';
};

subtest 'what is refused' => sub {
    error_is(post('x', {}), 404, -32_601, 'an unknown method');
    error_is(post($_,  {}), 404, -32_601, "$_ is of other versions") for qw(initialize ping logging/setLevel);
    error_is(post('tools/list', {}, without => ["$P/$_"]), 400, -32_602, "no $_ in _meta")
        for qw(protocolVersion clientCapabilities);
    error_is(post('tools/list', {_meta => $_}), 400, -32_602, '_meta is no object') for 'x', [1], undef;
    error_is(post('tools/list', {}, meta => {"$P/clientCapabilities" => [1]}), 400, -32_602, 'no capabilities');
    error_is(post('tools/list', {}, meta => {"$P/logLevel" => $_}), 400, -32_602, 'no level') for 'other', [1];
    my %unknown = (meta => {"$P/protocolVersion" => '2099-01-01'});
    error_is(post('tools/list', {}, %unknown), 400, -32_020, 'a version that is not the header\'s');
    my $response = post('tools/list', {}, %unknown, headers => {'MCP-Protocol-Version' => '2099-01-01'});
    error_is($response, 400, -32_022, 'an unknown version');
    my $data = decode_json($response->content)->{error}{data};
    is_deeply [$data->{requested}, $data->{supported}[0]], [qw(2099-01-01 2026-07-28)],
        'the client learns which there are';
    my %params = (name => 'add', arguments => {a => 1, b => 2});

    for my $header ('MCP-Protocol-Version', 'Mcp-Method', 'Mcp-Name') {
        error_is(post('tools/call', \%params, headers => {$header => $_}), 400, -32_020, "$header is wrong or missing")
            for 'other', undef;
    }
    for my $header (['MCP-Protocol-Version' => '2026-07-28'], ['Mcp-Method' => 'tools/call']) {
        my ($name, $value) = @$header;
        my %encoded = (headers => {$name => '=?base64?' . encode_base64($value, '') . '?='});
        error_is(post('tools/call', \%params, %encoded), 400, -32_020, "only a name may be encoded, not $name");
    }
    error_is(post('tools/call',           {name               => $_}),  200, -32_602, 'no tool') for 'other', '';
    error_is(post('tools/call',           {%params, arguments => [1]}), 200, -32_602, 'arguments that are no object');
    error_is(post('subscriptions/listen', {notifications      => $_}),  200, -32_602, 'no filter')
        for undef, [1], {toolsListChanged => 1}, {toolsListChanged => {}};
    my $long = 'x' x 1_000;
    is decode_json(post('subscriptions/listen', {notifications => {}}, id => $long)->content)->{error}{code}, -32_602,
        'too long an id';
    my %answer = (jsonrpc => '2.0', id => 1, result => {});
    is $es->post('/', request('x', {}), json => \%answer)->code,   400, 'a client sends no responses';
    is $es->post('/', request('x', {}), json => [\%answer])->code, 400, 'a batch';
    is post('tools/list', {}, headers => {Origin => 'https://evil.example'})->code, 403, 'a page of another origin';
};

subtest 'a call is one stream' => sub {
    my $stream = call(count_down => {from => 2});
    is_deeply next_message($stream)->{params}, {progressToken => 'token', progress => $_, total => 2}, "progress $_"
        for 1, 2;
    my $last = next_message($stream);
    is_deeply [$last->{id}, @{$last->{result}}{qw(resultType content)}],
        [$number, 'complete', [{type => 'text', text => 'lift-off'}]], 'then the response';
    $stream->ends_ok;
    is_deeply [map { next_message($_)->{method} } call('change', {})], [undef], 'without a level there is no log';
    $stream = call('change', {}, meta => {"$P/logLevel" => 'info'});
    is next_message($stream)->{method}, 'notifications/message', 'with one there is';
    $stream->ends_ok;
};

subtest 'a call ends with its client' => sub {
    my $stream = call(count_down => {from => 1000});
    next_message($stream);
    is jobs(), 1, 'a job counts';
    $stream->close;
    ok wait_until(sub { !jobs() }), 'it ends when its client has left';
};

subtest 'the server asks the client' => sub {
    my $asked = outcome(translate => {words => 'grün'});
    my ($result, $question) = ($asked->{result}, $asked->{result}{inputRequests}{words});
    is $result->{resultType},                           'input_required',               'a tool asks';
    is $question->{params}{messages}[0]{content}{text}, 'Translate into English: grün', 'with a question';
    my %answers = (
        inputResponses => {words => {content => {type => 'text', text => 'grëen'}}},
        requestState   => $result->{requestState}
    );
    my $with = sub { outcome(translate => {words => $_[0]}, params => {%answers, @_[1 .. $#_]}) };
    is $with->('grün')->{result}{content}[0]{text}, 'grëen', 'it is called again, with the answer';
    is $with->('grün', inputResponses => {other => {}})->{result}{resultType}, 'input_required',
        'without it, the tool asks again';
    is $with->('grün', inputResponses => {words => {content => [1]}})->{result}{isError}, JSON::PP::true,
        'an answer that is not text is an error of the tool';
    is $with->('rot')->{error}{code}, -32_602, 'the state is that of the arguments';
    is $with->('grün', requestState => $_)->{error}{code}, -32_602, 'another state is refused'
        for "$result->{requestState} ", 'x', [1];
    is $with->('grün', inputResponses => [1])->{error}{code}, -32_602, 'so are answers that are no object';
    error_is post(
        'tools/call',
        {name => 'translate', arguments => {words => 'rot'}},
        meta => {"$P/clientCapabilities" => {}}
        ),
        400, -32_021,
        'a client that has no model is not asked';

    $asked = outcome(ask_twice => {});
    for my $answer ([name => 'Ada'], [town => 'London']) {
        is_deeply [keys %{$asked->{result}{inputRequests}}], [$answer->[0]], "it asks for the $answer->[0]";
        my %params = (
            inputResponses => {$answer->[0] => {content => $answer->[1]}},
            requestState   => $asked->{result}{requestState}
        );
        $asked = outcome(ask_twice => {}, params => \%params);
    }
    is $asked->{result}{content}[0]{text}, 'Ada, London', 'the state has the answers of all rounds';
};

subtest 'clients listen, on any worker' => sub {
    my @ids     = (1, 1, 2, '1', 'a/b*', '[1]', "\x{263a} \"", 7);
    my @streams = map { hear($_, toolsListChanged => JSON::PP::true, promptsListChanged => JSON::PP::true) } @ids;
    my @others  = (hear(1), hear(1, toolsListChanged => JSON::PP::false));
    my @workers = Live::Processes::workers($server->pid);
    is kill(KILL => @workers), 4, 'all workers are killed';
    wait_until(sub { none_runs(@workers) });
    outcome(change => {});
    for my $index (0 .. $#ids) {
        my $message = next_message($streams[$index]);
        my %params  = (_meta => {"$P/subscriptionId" => $ids[$index]});
        is_deeply $message, {jsonrpc => '2.0', method => 'notifications/tools/list_changed', params => \%params},
            "what a call on another worker causes, for $ids[$index]";
    }
    like $streams[0]->raw, qr/"$P\/subscriptionId":1\}/, 'the number 1 is not the string';
    local @ENV{qw(MCP_SOCKET PERL5LIB)} = ($env{MCP_SOCKET}, join ':', @INC);
    is system($^X, 'examples/mcp/notify', 'tools/list_changed'), 0, 'a command of the shell';
    is next_message($_)->{method}, 'notifications/tools/list_changed', 'notifies them, too' for @streams;
    $_->no_event(0.3, 'who has not asked for it is not told') for @others;
    ok defined $_->next_comment(5), 'comments keep quiet streams open' for @others;
    is $hub->process->stats->{streams}, 10, 'the hub has the streams';
    $_->close for @streams, @others;
    ok wait_until(sub { !$hub->process->stats->{streams} }), 'clients that have left cost nothing';
    is $hub->process->stats->{state}{keys}, 1, 'of all calls and streams the hub keeps the key of its seals as state';
};

$server->stop;
Live::Processes::end_hub($env{MCP_SOCKET});
done_testing;
