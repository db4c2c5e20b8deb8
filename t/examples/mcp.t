# The MCP server of examples/mcp on Starman with four workers: sessions, calls of tools, their streams and what the server has
# to say are the same in all of them, and outlive them. mcp_conformance.t runs the conformance suite of MCP.

use lib qw(t/lib examples/live/lib);
use Testing;
use Digest::SHA qw(hmac_sha256_hex);
use Encode      qw(encode_utf8);
use EventSource::Hub;
use File::Temp ();
use JSON::PP   qw(decode_json);
use Live::Processes;
use Test::EventSource;
use Testing::Deadline qw(wait_until);
use Testing::Process  qw(none_runs processes_like);
use Testing::Server;

Testing->need('named_hubs');
Testing::Server->require_or_skip_all('Starman');

my $folder = File::Temp->newdir;
my %env    = (MCP_SOCKET => "$folder/hub.sock");
my $hub    = EventSource::Hub->new(name => 'mcp', socket => $env{MCP_SOCKET});
$hub->epoch;
my $server = Testing::Server->start('Starman', 'examples/mcp/app.psgi', workers => 4, env => \%env);
my $es     = Test::EventSource->new(url => $server->url(''), timeout => 10);
my @JSON   = (Accept => 'application/json, text/event-stream');
my $number = 0;

# The options of a request of a session; a message has the fields that it is given.
sub in {
    my ($session, %message) = @_;
    return (
        headers => [@JSON, $session ? ('Mcp-Session-Id' => $session) : ()],
        %message ? (json => {jsonrpc => '2.0', %message}) : (),
    );
}

sub post { return $es->post('/', in(@_)) }

# Returns the code of an error, which shows no address of Perl.
sub error {
    my $content = shift->content;
    unlike $content, qr/\(0x/, 'an error of the protocol';
    return decode_json($content)->{error}{code};
}

sub result { return decode_json(shift->content)->{result} }

# Begins a session. Returns its id.
sub begin {
    my %capabilities = @_;
    my %params       = (protocolVersion => '2025-11-25', capabilities => \%capabilities);
    my $response     = post(undef, id => ++$number, method => 'initialize', params => \%params);
    is $response->code, 200, 'a session begins';
    post($response->header('Mcp-Session-Id'), method => 'notifications/initialized');
    return $response->header('Mcp-Session-Id');
}

# Calls a tool. Returns its id and its stream, after the event that makes it resumable.
sub call {
    my ($session, $name, $arguments) = @_;
    my $id     = ++$number;
    my %params = (name => $name, arguments => $arguments, _meta => {progressToken => "token $id"});
    my $stream = $es->stream('POST', '/', in($session, id => $id, method => 'tools/call', params => \%params));
    my $first  = $stream->next_event;
    is $first->{data}, '', 'the stream begins with an event without data';
    ok length $stream->last_event_id, 'which has an id';
    return ($id, $stream);
}

# Resumes the stream of a call, as the protocol has it: by GET.
sub resume {
    my ($session, $id) = @_;
    return $es->get('/', headers => ['Mcp-Session-Id' => $session], last_event_id => $id);
}

sub next_message { return decode_json(encode_utf8(shift->next_event->{data})) }

sub progress_is {
    my ($stream, $id, $done, $name) = @_;
    my $message = next_message($stream);
    return is_deeply $message->{params}, {progressToken => "token $id", progress => $done, total => 3}, $name;
}

sub has_begun_ok {
    my $stream = shift;
    return ok $es->wait_for(sub { length $stream->last_event_id }), 'a stream begins';
}

# The processes of the job of a call, whose channel has its last event.
sub jobs_of {
    my $id = shift->last_event_id;
    my @channels;
    $hub->process->channels('call/*/*', sub { push @channels, $_[0]{name} });
    my ($channel) = grep {
        grep { $_->{id} eq $id }
            $hub->history($_)
    } @channels;
    my ($name) = $channel =~ m{([^/]+)\z};
    return processes_like(qr/\x00\Q$name\E\x00/);
}

my $session = begin(sampling => {});

subtest 'what is answered at once' => sub {
    is_deeply result(post($session, id => 1, method => 'ping')), {}, 'ping';
    my @tools = map { $_->{name} } @{result(post($session, id => 2, method => 'tools/list'))->{tools}};
    is_deeply \@tools, [qw(add count_down translate)], 'tools/list';
    my %call     = (id => 'three', method => 'tools/call', params => {name => 'add', arguments => {a => 1, b => 2}});
    my $response = post($session, %call);
    is $response->header('Content-Type'),     'application/json', 'a tool that takes no time answers with JSON';
    is result($response)->{content}[0]{text}, 3,                  'the sum';
    my @headers = ('Mcp-Session-Id' => $session, Accept => 'text/event-stream, application/json');
    my $stream  = $es->stream('POST', '/', in($session, %call), headers => \@headers);
    is next_message($stream)->{result}{content}[0]{text}, 3, 'a client that names streams first is sent one';
    $stream->ends_ok;
    my @json = (headers => ['Content-Type' => 'application/json', @JSON, 'Mcp-Session-Id' => $session]);

    for (
        ['7',                '7'],
        ['"7"',              '"7"'],
        ['1e3',              '1000'],
        ['-2',               '-2'],
        ['9007199254740991', '9007199254740991'],
        ['1.5'], ['true'], ['null'], ['1e300'], ['[7]']
    ) {
        my ($id, $back) = @$_;
        my $answer = $es->post('/', @json, content => qq({"jsonrpc":"2.0","method":"ping","id":$id}));
        is $answer->code, defined $back ? 200 : 400, "the id $id";
        like $answer->content, qr/"id":\Q$back\E[,}]/, 'comes back' if defined $back;
    }
};

subtest 'what is refused' => sub {
    my %ping = (id => 1, method => 'ping');
    my $code = sub { my ($id, %with) = @_; my %in = in($id, %ping); $es->post('/', %in, %with)->code };
    my $with = sub { [@JSON, 'Mcp-Session-Id' => $session, @_] };
    is $code->(undef), 400, 'a request without session';
    is $code->($_), 404, 'one of a session that is none' for 'x', '0' x 43, $session =~ s/.\z/g/r;
    is $code->($session, headers => $with->(Origin => 'https://evil.example')),  403, 'one of a foreign page';
    is $code->($session, headers => $with->(Origin => 'http://localhost:8080')), 200, 'a page of this machine may ask';
    is $code->($session, headers => $with->('MCP-Protocol-Version' => '2099-01-01')), 400, 'an unknown version';
    is $code->($session, headers => ['Mcp-Session-Id' => $session, Accept => 'text/html']), 406,
        'a client that takes no stream';
    is $code->($session, json => [{jsonrpc => '2.0', %ping}]),              400, 'a batch';
    is $code->($session, json => {jsonrpc => '2.0', %ping, params => [1]}), 400, 'parameters that are no object';
    my $post =
        sub { $es->post('/', headers => ['Content-Type' => 'application/json', @{$_[0]}], content => $_[1])->code };
    is $post->($with->(),                             '{'), 400, 'no JSON';
    is $post->([@JSON, 'Mcp-Session-Id' => '0' x 43], '{'), 404, 'that of a session that is none is not read';
    my $deep = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"count_down","arguments":%s}}';
    is $post->($with->(), sprintf $deep, '{"a":' x 510 . '1' . '}' x 510), 400, 'JSON of too many levels';
    is $es->post('/', headers => $with->(), form => [a => 1])->code,       415, 'a form';
    is $code->($session, json => {jsonrpc => '2.0', %ping, params => {long => 'x' x 4_194_304}}), 413,
        'too long a message';
    is $es->request('PUT', '/')->code, 405, 'another method';

    my @not = (
        [],
        [id     => 1],
        [result => {}],
        [id     => 1, result => 'text'],
        [id     => 1, error  => 'text'],
        [id     => 1, error  => {}]
    );
    is post($session, jsonrpc => '2.0', @$_)->code, 400, 'neither a request, nor a notification, nor an answer'
        for @not;
    is post($session, id => $_, method => 'ping')->code, 400, 'an id that is neither a string nor a number'
        for [1], undef;
    is post($session, id => 1, method => [1])->code, 400, 'a method that is no string';
    is error(post($session, id => 1, method => 'tools/list', params => {_meta => $_})), -32_602, '_meta is no object'
        for 'x', '', [1];
    is error(post($session, id => 1, method => 'other')), -32_601, 'an unknown method';
    is error(post($session, id => 1, method => 'logging/setLevel', params => {level => $_})), -32_602, 'no level'
        for 'other', [1];
    is error(post($session, id => 1, method => 'tools/call', params => $_)), -32_602, 'no tool, or no object'
        for { name => 'other' }
    , {name => [1]}, {name => 'add', arguments => [1]}, {name => 'add', arguments => ''};
    is error(post(undef, id => 1, method => 'initialize', params => {capabilities => [1]})), -32_602, 'no capabilities';

    for my $call (
        [add        => {a     => 1, b => [1]}],
        [add        => {a     => 1}],
        [translate  => {words => {}}],
        [count_down => {from  => 0.5}],
        [count_down => {from  => '9' x 20}],
    ) {
        my %params = (name => $call->[0], arguments => $call->[1]);
        my $result = result(post($session, id => 1, method => 'tools/call', params => \%params));
        ok $result->{isError}, 'an argument is missing or of another type';
        like $result->{content}[0]{text}, qr/\Athe argument \w+ must be of the type \w+\z/,
            'the model of the client is told';
    }
};

subtest 'a call outlives its connection and the workers' => sub {
    my ($id, $stream) = call($session, count_down => {from => 3});
    progress_is($stream, $id, 1, 'the client knows of progress');
    my $last = $stream->last_event_id;
    $stream->close;
    my @workers = Live::Processes::workers($server->pid);
    is kill(KILL => @workers), 4, 'all workers are killed';
    wait_until(sub { none_runs(@workers) });
    my $again = resume($session, $last);
    progress_is($again, $id, $_, "a client that comes back knows of step $_") for 2, 3;
    my $response = next_message($again);
    is_deeply [@$response{qw(id)}, $response->{result}{content}[0]{text}], [$id, 'lift-off'], 'then it has the result';
    $again->ends_ok;
    my $other = begin();
    my $theft = resume($other, $last);
    has_begun_ok($theft);
    $hub->publish("server/$other" => {json => {jsonrpc => '2.0', method => 'notifications/other'}});
    is next_message($theft)->{method}, 'notifications/other', 'another session cannot read that stream';
    $theft->close;
};

subtest 'calls at the same time' => sub {
    my @calls = map { [call($session, count_down => {from => 1})] } 1 .. 4;
    for (@calls) {
        my ($id, $stream) = @$_;
        is next_message($stream)->{params}{progressToken}, "token $id", 'each stream has its own messages';
        is next_message($stream)->{id},                    $id,         'and its own response';
        $stream->ends_ok;
    }
};

subtest 'the server asks the client' => sub {
    my ($id, $stream) = call($session, translate => {words => 'grün'});
    my $asked = next_message($stream);
    is $asked->{params}{messages}[0]{content}{text}, 'Translate into English: grün', 'a tool asks';
    my %answer = (id => $asked->{id}, result => {role => 'assistant', content => {type => 'text', text => 'grëen'}});
    is post($session, %answer)->code,                     202,     'any worker takes the answer';
    is next_message($stream)->{result}{content}[0]{text}, 'grëen', 'the tool has it';
    $stream->ends_ok;
    ($id, $stream) = call($session, translate => {words => 'lang'});
    my $long = 'long ' x 300_000;
    post($session, id => next_message($stream)->{id}, result => {content => {type => 'text', text => $long}});
    ok next_message($stream)->{result}{content}[0]{text} eq $long, 'an answer may be as long as a request';
    $stream->ends_ok;
    ($id, $stream) = call(begin(), translate => {words => 'rot'});
    my $result = next_message($stream)->{result};
    ok $result->{isError}, 'a client that has no model is not asked';
    $stream->ends_ok;
    ($id, $stream) = call($session, translate => {words => 'blau'});
    post($session, id => next_message($stream)->{id}, result => {content => {text => [1]}});
    ok next_message($stream)->{result}{isError}, 'an answer that is not text is an error of the tool';
};

subtest 'a call is cancelled' => sub {
    is post($session, id => $_, result => {})->code, 202, "an answer to nothing: '$_'" for '', 1;
    my ($id, $stream) = call($session, count_down => {from => 1000});
    is scalar(jobs_of($stream)), 1, 'a job counts';
    post($session, method => 'notifications/cancelled', params => {requestId => $_}) for $id + 1000, "$id";
    post($session, method => 'notifications/cancelled', params => $_) for { reason => 'no id' }
    , '', [];
    post($session, method => 'notifications/cancelled', is_end => \1);
    is next_message($stream)->{method}, 'notifications/progress', 'it continues if another call is cancelled'
        for 1 .. 3;
    post($session, method => 'notifications/cancelled', params => {requestId => $id});
    ok wait_until(sub { !jobs_of($stream) }), 'it ends when its own call is';
    $stream->ends_ok;
};

# Counts as calls of a session as the server counts them, as long as what it returns exists.
sub occupy {
    my ($count, @channels) = @_;
    return map { $hub->process->follow(@channels) } 1 .. $count;
}

sub is_too_much_ok {
    my ($of, $name) = @_;
    my %params = (name => 'count_down', arguments => {from => 1});
    return is error(post($of, id => 1, method => 'tools/call', params => \%params)), -32_000, $name;
}

subtest 'many calls run' => sub {
    my $other = begin();
    my @calls = occupy(15, "in/$other");
    my ($id, $stream) = call($other, count_down => {from => 1000});
    is_too_much_ok($other, 'a session has at most 16 at a time');
    post($other, method => 'notifications/cancelled', params => {requestId => $id});
    ok wait_until(sub { $hub->subscribers("in/$other") == 15 }), 'one ends';
    ($id, $stream) = call($other, count_down => {from => 1000});
    my @jobs = occupy(127, 'jobs');
    is_too_much_ok($session, 'all sessions have at most 128');
    is kill(KILL => jobs_of($stream)), 1, 'a job is killed';
    ok wait_until(sub { $hub->subscribers('jobs') == 127 }), 'and does not count any more';
    (undef, $stream) = call($session, count_down => {from => 0});
    is next_message($stream)->{result}{content}[0]{text}, 'lift-off', 'so there is room for another';
};

# The id of a session that began at a time, under the seal of a key.
sub sealed {
    my ($time, $key) = @_;
    my $text = "$time-" . '0' x 32 . '-sampling';
    return "$text-" . hmac_sha256_hex($text, $key);
}

subtest 'sessions take no room in the hub' => sub {
    my $keys = $hub->stats->{state}{keys};
    begin(other => 'x' x 200_000) for 1 .. 5;
    is $hub->stats->{state}{keys}, $keys, 'their ids have all that the server knows of them';
    my $key  = ($hub->state('secret'))[0]{data};
    my %ping = (id => 1, method => 'ping');
    is post(sealed(time,          $key),      %ping)->code, 200, 'the hub has the key of the seal';
    is post(sealed(time,          'another'), %ping)->code, 404, 'another one seals no session';
    is post(sealed(time - 90_000, $key),      %ping)->code, 404, 'a session lasts a day';
};

subtest 'what the server has to say' => sub {
    my $of     = sub { (headers => ['Mcp-Session-Id' => $_[0]]) };
    my $other  = begin();
    my %stream = map { ($_ => $es->get('/', $of->($_))) } $session, $other;
    has_begun_ok($_) for values %stream;
    is $es->get('/', $of->($session))->status, 429, 'a session has one such stream';
    $hub->publish(server            => {json => {jsonrpc => '2.0', method => 'notifications/tools/list_changed'}});
    $hub->publish("server/$session" => {json => {jsonrpc => '2.0', method => 'notifications/message'}});
    is next_message($_)->{method}, 'notifications/tools/list_changed',     'each client is told' for values %stream;
    is next_message($stream{$session})->{method}, 'notifications/message', 'one of them is told more';
    my $last = $stream{$session}->last_event_id;
    $stream{$session}->close;
    $hub->publish("server/$session" => {json => {jsonrpc => '2.0', method => 'notifications/missed'}});
    ok wait_until(sub { !$hub->subscribers("server/$session") }), 'its stream is gone';
    my $again = $es->get('/', $of->($session), last_event_id => $last);
    is next_message($again)->{method}, 'notifications/missed', 'when it comes back, it is told what it has missed';
    $_->close for $again, $stream{$other};
};

subtest 'a session ends' => sub {
    my @end    = (headers => ['Mcp-Session-Id' => $session]);
    my $stream = $es->get('/', @end);
    has_begun_ok($stream);
    my ($id, $call) = call($session, count_down => {from => 1000});
    is $es->request('DELETE', '/', @end)->code, 204, 'its client ends it';
    $stream->ends_ok;
    ok wait_until(sub { !jobs_of($call) }), 'its call ends';
    is post($session, id => 1, method => 'ping')->code, 404, 'it is no session any more';
    is $es->get('/', @end)->status,                     404, 'and has no stream';
};

$server->stop;
Live::Processes::end_hub($env{MCP_SOCKET});
done_testing;
