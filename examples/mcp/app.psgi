# An MCP server in plain PSGI, for any number of workers: the transport Streamable HTTP of the Model Context Protocol, of
# version 2026-07-28 and, for clients that ask for it, of 2025-11-25 (legacy), which has sessions. README.md: how to run it.
#
# A named hub has all that the workers share:
#   call/SESSION/STREAM    what the client is sent for one call of a tool; of legacy ones with ids of the form STREAM/NUMBER
#   in/SESSION             what the client has sent to calls that run: its answers, and what it cancels, also by leaving
#   jobs                   nothing: all calls that run are its subscribers
#   ack/SESSION            how a stream of subscriptions/listen begins
#   listen/METHOD/[ID]     notifications for the requests subscriptions/listen of that id (the file notify sends them)
#   session/SESSION        the level of a legacy session, or that it has ended
#   secret                 state: the key with which ids of sessions, and states of calls, are sealed
#   server/SESSION, server what the server has to say to one legacy client, and to all
use strict;
use warnings;

use Digest::SHA qw(hmac_sha256_hex);
use Encode      qw(decode_utf8);
use EventSource::Hub;
use Fcntl          qw(F_SETFD);
use File::Basename qw(dirname);
use File::Spec;
use JSON::MaybeXS qw(decode_json encode_json is_bool);
use MIME::Base64  qw(decode_base64);
use Plack::Request;
use Scalar::Util qw(looks_like_number);

my $VERSION       = '2026-07-28';
my @LEGACY        = qw(2025-11-25 2025-06-18 2025-03-26);
my $META          = 'io.modelcontextprotocol';
my @LEVELS        = qw(debug info notice warning error critical alert emergency);
my @CAPABILITIES  = qw(elicitation roots sampling);                                 # of clients, which tools may use
my $SESSION_LASTS = 86_400;                                                         # seconds
my $MOST_CALLS    = 16;                                                             # of a session that run at a time
my $MOST_JOBS     = 128;                                                            # of all sessions
my $MOST_LEVELS   = 100;                                                            # of JSON; what is sent on has more
my $MOST_BYTES    = 4_194_304;                                                      # of a request's content
my %LISTEN        = (toolsListChanged => 'tools/list_changed');                     # what clients may listen to
my %IS_ABLE       = (tools      => {listChanged => \1}, logging => {});
my %SERVER        = (name       => 'eventsource-example', version    => EventSource::Hub->VERSION);
my %RESULT        = (resultType => 'complete',            _meta      => {"$META/serverInfo" => \%SERVER});
my %CACHE         = (ttlMs      => 60_000,                cacheScope => 'public');
my $LOST          = '{"jsonrpc":"2.0","method":"notifications/message",'
    . '"params":{"level":"warning","data":"The server no longer has all messages of this stream."}}';
my $FOLDER         = dirname(File::Spec->rel2abs(__FILE__));
my $TOOLS          = File::Spec->rel2abs($ENV{MCP_TOOLS} || "$FOLDER/tools.pl");
my $tools          = do $TOOLS or die "$TOOLS: ", $@ || $!, "\n";
my $json           = JSON::MaybeXS->new->utf8->max_depth($MOST_LEVELS);
my $ascii          = JSON::MaybeXS->new->ascii;
my %allowed_origin = map { ($_ => 1) } split /,/, $ENV{MCP_ORIGINS} || '';

my $hub = EventSource::Hub->new(
    name         => 'mcp',
    socket       => $ENV{MCP_SOCKET},
    start        => 'oldest',
    retry        => 500,
    keep_history => {events => 1000, seconds => 3600},
    gap_event    => 'message',
    gap_data     => $LOST,
    per_channel  => {
        'session/*' => {keep_history => {events => 1, seconds => $SESSION_LASTS}},
        map { ($_ => {keep_history => {seconds => 60}}) } 'ack/*', 'listen/**',
    },
);
my %follow = (channels => sub { @{$_[0]{'mcp.channels'}} }, position => 'none');

# One POST is one stream. The end of the stream of a call is the end of its member, at which its job ends.
my $streams = $hub->to_app(%follow, methods => ['POST'], member => sub { $_[0]{'mcp.member'} });

# A legacy call's stream begins with its own first event, whose id finds the stream. After max_age the client comes back for the
# rest.
my $calls = $hub->to_app(%follow, methods => ['GET', 'POST'], label => \&label, max_age => 300);

# Each message goes to one stream of a client only, so it may have one of these.
my $notifications = $hub->to_app(
    channels => sub {
        my $session = $_[0]{HTTP_MCP_SESSION_ID};
        return (["server/$session", {start => 'latest', max_streams_per => [\&label, 1]}],
            ['server', {start => 'latest'}]);
    },
    label => \&label,
);

sub label { return "session/$_[0]{HTTP_MCP_SESSION_ID}" }

sub random_hex {
    open my $random, '<:raw', '/dev/urandom' or die "/dev/urandom: $!\n";
    read $random, my $bytes, 16;
    return unpack 'H*', $bytes;
}

# Responses

sub answer {
    my ($status, $message, @headers) = @_;
    return [$status, ['Content-Type' => 'application/json', @headers], [encode_json({jsonrpc => '2.0', %$message})]];
}

# The error has the id of the request, if there is one.
sub refuse {
    my ($status, $why, $code, $request, @data) = @_;
    my @id = exists $request->{id} ? (id => $request->{id}) : ();
    return answer($status, {@id, error => {code => $code || -32_000, message => $why, @data}});
}

# For a request of JSON-RPC that is understood and fails.
sub fail { return refuse(200, @_[2, 1, 0]) }

sub refuse_version {
    my ($request, $version) = @_;
    my %data = (supported => [$VERSION, @LEGACY], requested => $version);
    return refuse(400, "this server has the versions $VERSION @LEGACY", -32_022, $request, data => \%data);
}

sub succeed {
    my ($request, $result, @headers) = @_;
    return answer(200, {id => $request->{id}, result => $result}, @headers);
}

# The result of a tool that has failed: the model of the client is to see why.
sub failure { return {isError => \1, content => [{type => 'text', text => shift}]} }

# Legacy sessions

# The id of a session has the time at which it began and what its client can do, under a seal: that takes no room in the hub.
# Returns nothing if there is no such session.
sub session {
    my $id = shift;
    my ($text, $time, $can, $seal) = $id =~ /\A((\d{10})-[0-9a-f]{32}-([a-z+]*))-([0-9a-f]{64})\z/ or return;
    return if $seal ne hmac_sha256_hex($text, secret()) || $time < time - $SESSION_LASTS;
    my ($event) = $hub->history("session/$id", last => 1);
    return if $event && $event->{data} eq 'ended';
    return {id => $id, level => $event ? $event->{data} : 'info', client => {map { ($_ => 1) } split /[+]/, $can}};
}

sub secret {
    my ($event) = $hub->state('secret');
    return $event->{data} if $event;
    $hub->publish(secret => {key => '', data => random_hex(), retain => 1}, {once => 'secret'});
    return secret();
}

sub initialize {
    my $request = shift;
    my $wanted  = $request->{params}{protocolVersion} // '';
    my $can     = $request->{params}{capabilities}    // {};
    return fail($request, -32_602, 'the capabilities must be an object') if ref $can ne 'HASH';
    my $text      = join '-', time, random_hex(), join '+', grep { $can->{$_} } @CAPABILITIES;
    my ($version) = ((grep { $_ eq $wanted } @LEGACY), $LEGACY[0]);
    my %result    = (protocolVersion => $version, serverInfo => \%SERVER, capabilities => \%IS_ABLE);
    return succeed($request, \%result, 'Mcp-Session-Id' => "$text-" . hmac_sha256_hex($text, secret()));
}

# Its calls end as if they were cancelled, and its streams on all workers end.
sub end_session {
    my $id = shift;
    $hub->publish("session/$id", 'ended');
    $hub->publish("in/$id",      {event => 'leave', data => ''});
    $hub->end(label => "session/$id");
    return [204, [], []];
}

# Requests

# The checks of types of JSON Schema; the tool checks those that are not here.
my %IS = (
    integer => sub { is_string($_[0]) && $_[0] =~ /\A-?[0-9]{1,18}\z/ },
    number  => sub { is_string($_[0]) && looks_like_number($_[0]) },
    string  => \&is_string,
);

my %METHOD = (
    'tools/call' => \&call,
    'tools/list' => sub {
        my @tools = map { {name => $_, description => $tools->{$_}{description}, inputSchema => $tools->{$_}{input}} }
            sort keys %$tools;
        return {%CACHE, tools => \@tools};
    },
);
my %MODERN = (
    %METHOD,
    'server/discover' => sub { return {%CACHE, supportedVersions => [$VERSION, @LEGACY], capabilities => \%IS_ABLE} },
    'subscriptions/listen' => \&listen_to,
);
my %LEGACY = (
    %METHOD,
    'logging/setLevel' => sub {
        my ($env, $session, $request) = @_;
        my $level = $request->{params}{level} // '';
        return fail($request, -32_602, "the level must be one of @LEVELS") if !grep { $_ eq $level } @LEVELS;
        $hub->publish("session/$session->{id}", $level);
        return {};
    },
    'ping' => sub { {} },
);

# Returns the response to a request. A client accepts both types. The one that it names first is the one that it is sent, if the
# server has the choice.
sub respond {
    my ($env, $session, $request, $code) = @_;
    my $response = $code->($env, $session, $request);
    $response = succeed($request, {%{$session->{result} || {}}, %$response}) if ref $response eq 'HASH';
    return $response if ref $response ne 'ARRAY' || $env->{HTTP_ACCEPT} !~ m{\A\s*text/event-stream}i;
    return [$response->[0], ['Content-Type' => 'text/event-stream'], ["data: $response->[2][0]\n\n"]];
}

# A tool that takes no time answers here, as JSON. Any other one is a job, which neither holds this worker nor ends with it: the
# response is a stream of what the job publishes.
sub call {
    my ($env, $session, $request) = @_;
    my $name      = $request->{params}{name} // '';
    my $tool      = $tools->{$name} or return fail($request, -32_602, 'there is no tool of that name');
    my $arguments = $request->{params}{arguments} // {};
    return fail($request, -32_602, 'the arguments must be an object') if ref $arguments ne 'HASH';
    my %lacks = map { ($_ => {}) } grep { !$session->{client}{$_} } @{$tool->{needs} || []};
    return refuse(400, 'the client lacks a capability', -32_021, $request, data => {requiredCapabilities => \%lacks})
        if %lacks && $session->{is_modern};
    my $problem = problem_of($tool->{input}, $arguments);
    return failure($problem)                                  if $problem;
    return eval { $tool->{run}->($arguments) } || failure($@) if !$tool->{is_job};
    my $in      = inbox($session) or return fail($request, -32_000, 'too many calls run at this time');
    my $stream  = random_hex();
    my $channel = "call/$session->{id}/$stream";
    $hub->publish($channel, {data => ''}) if !$session->{is_modern};
    my %job = (in => fileno $in, tools => $TOOLS, session => $session, stream => $stream, request => $request);
    $job{secret} = secret();
    return fail($request, -32_603, 'the tool cannot be started') if !start(\%job);
    $env->{'mcp.channels'} = [$channel];
    $env->{'mcp.member'}   = {id => $stream, channel => "in/$session->{id}", leave_after => 0};
    return $session->{is_modern} ? $streams->($env) : $calls->($env);
}

# The acknowledgement comes from the hub, too: once a client has it, no notification passes its stream by.
sub listen_to {
    my ($env, $session, $request) = @_;
    my $wanted = $request->{params}{notifications};
    return fail($request, -32_602, 'notifications must be an object of booleans')
        if ref $wanted ne 'HASH' || grep { exists $wanted->{$_} && !is_bool($wanted->{$_}) } keys %LISTEN;
    my $id = $ascii->encode([$request->{id}]);
    return fail($request, -32_602, 'the id is too long') if length $id > 500;
    my @sent   = grep { $wanted->{$_} } keys %LISTEN;
    my %params = (_meta   => {"$META/subscriptionId" => $request->{id}}, notifications => {map { ($_ => \1) } @sent});
    my %begins = (jsonrpc => '2.0', method => 'notifications/subscriptions/acknowledged', params => \%params);
    $hub->publish("ack/$session->{id}", {json => \%begins});
    $env->{'mcp.channels'} = ["ack/$session->{id}", map { ["listen/$LISTEN{$_}/$id", {start => 'latest'}] } @sent];
    return $streams->($env);
}

# The problem of arguments: a required one is missing, or one is of another type than its schema has.
sub problem_of {
    my ($schema, $arguments) = @_;
    my %is_required = map { ($_ => 1) } @{$schema->{required} || []};
    for my $name (sort keys %{$schema->{properties}}) {
        my $type = $schema->{properties}{$name}{type} // '';
        next                                                  if !exists $arguments->{$name} && !$is_required{$name};
        return "the argument $name must be of the type $type" if $IS{$type} && !$IS{$type}->($arguments->{$name});
    }
    return undef;
}

# Returns the socket from which a job reads what the client sends. The job has it as long as it runs, however it ends, so that
# the hub knows how many run. Returns undef if these are too many.
sub inbox {
    my $session = shift;
    my $in_name = "in/$session->{id}";
    $hub->epoch;    # starts the hub process
    my $in = $hub->process->follow($in_name, 'jobs', {start => 'oldest'})->socket;
    return if $hub->subscribers($in_name) > $MOST_CALLS || $hub->subscribers('jobs') > $MOST_JOBS;
    fcntl $in, F_SETFD, 0 or die "fcntl: $!\n";
    return $in;
}

sub start {
    my $job = shift;
    local $SIG{PIPE} = 'IGNORE';
    open my $input, '|-', 'setsid', '--fork', "$FOLDER/call", $job->{stream} or return 0;
    print {$input} encode_json($job);
    return close $input;
}

# A message that expects no response: the call that it is for reads it.
sub take {
    my ($session, $message) = @_;
    $hub->publish("in/$session->{id}", {json => $message})
        if ($message->{method} // 'notifications/cancelled') eq 'notifications/cancelled';
    return [202, [], []];
}

sub post {
    my ($env, $session, $message) = @_;
    return take($session, $message) if !defined $message->{method} || !exists $message->{id};
    my $code = $LEGACY{$message->{method}} or return fail($message, -32_601, "there is no method $message->{method}");
    return respond($env, $session, $message, $code);
}

# Without the id of a call's event this is the stream for what the server has to say.
sub get {
    my ($env, $session) = @_;
    my $channel = call_with($session, $env->{HTTP_LAST_EVENT_ID} // '') // return $notifications->($env);
    $env->{'mcp.channels'} = [$channel];
    return $calls->($env);
}

# Returns the channel of the call of a session that has the event with an id. Clients resume by ids of the hub, which name no
# channel.
sub call_with {
    my ($session, $id) = @_;
    return undef if $id eq '';
    my @channels;
    $hub->process->channels("call/$session->{id}/*", sub { push @channels, $_[0]{name} });
    for my $channel (@channels) {
        return $channel if grep { $_->{id} eq $id } $hub->history($channel);
    }
    return undef;
}

# Returns the message of a request with content, or why it is refused.
sub message {
    my $env = shift;
    return undef, refuse(415, 'the content must be application/json')
        if ($env->{CONTENT_TYPE} || '') !~ m{\Aapplication/json\b}i;
    return undef, refuse(413, "the content has more than $MOST_BYTES bytes")
        if ($env->{CONTENT_LENGTH} || 0) > $MOST_BYTES;
    my $message = eval { $json->decode(Plack::Request->new($env)->content) };
    return undef, refuse(400, "the content is not JSON of at most $MOST_LEVELS levels", -32_700) if !defined $message;
    return undef, refuse(400, 'the content is not a message of JSON-RPC 2.0', -32_600) if !is_message($message);
    return undef, refuse(400, '_meta must be an object',                      -32_602, $message)
        if ref(($message->{params} || {})->{_meta} // {}) ne 'HASH';
    $message->{id} = int $message->{id} if exists $message->{id} && encode_json([$message->{id}]) !~ /"/;    # of 1e3
    return $message;
}

# Returns true for a request, a notification and an answer.
sub is_message {
    my $message = shift;
    return 0
        if ref $message ne 'HASH' || ($message->{jsonrpc} || '') ne '2.0' || ref($message->{params} // {}) ne 'HASH';
    return 0                                if exists $message->{id} && !is_id($message->{id});
    return is_string($message->{method})    if exists $message->{method};
    return 0                                if !exists $message->{id};
    return ref $message->{result} eq 'HASH' if !exists $message->{error};
    return ref $message->{error} eq 'HASH' && is_string($message->{error}{message});
}

# A string or a whole number, which comes back as what it is.
sub is_id { return encode_json([shift]) =~ /\A\[(?:"|-?[0-9]{1,18}(?:[.]0)?\])/ }

# Numbers are strings, too.
sub is_string { return defined $_[0] && !ref $_[0] }

# A page of another origin could reach a server on its visitor's machine (DNS rebinding).
sub is_allowed {
    my $origin = shift // return 1;
    return $allowed_origin{$origin} || $origin =~ m{\Ahttps?://(?:localhost|127[.]0[.]0[.]1|\[::1\])(?::[0-9]+)?\z};
}

# Requests without session: each has in its _meta what the server has to know.

sub is_modern {
    my ($version, $message) = @_;
    my $asked = (($message->{params} || {})->{_meta} || {})->{"$META/protocolVersion"};
    return ($version // '') eq $VERSION || defined $asked && !grep { $_ eq $asked } @LEGACY;
}

sub modern {
    my ($env, $message) = @_;
    return refuse(400, 'a client sends no responses', -32_600) if !defined $message->{method};
    return [202, [], []]                                       if !exists $message->{id};
    my ($version, $client, $level) =
        map { $message->{params}{_meta}{"$META/$_"} } qw(protocolVersion clientCapabilities logLevel);
    return refuse(400, '_meta must have a version and capabilities', -32_602, $message)
        if !is_string($version) || ref $client ne 'HASH';
    my $wrong = wrong_header($env, $message, $version);
    return refuse(400, "the header $wrong is not as the content", -32_020, $message) if $wrong;
    return refuse_version($message, $version)                                        if $version ne $VERSION;
    return refuse(400, "the level must be one of @LEVELS", -32_602, $message)
        if defined $level && !grep { $_ eq $level } @LEVELS;
    my $code = $MODERN{$message->{method}}
        or return refuse(404, "there is no method $message->{method}", -32_601, $message);
    my %session = (id => random_hex(), is_modern => 1, level => $level, client => $client, result => \%RESULT);
    delete $env->{HTTP_LAST_EVENT_ID};
    return respond($env, \%session, $message, $code);
}

# What stands between client and server decides by headers: they must say what the content says.
sub wrong_header {
    my ($env, $request, $version) = @_;
    my %must = ('MCP-Protocol-Version' => $version, 'Mcp-Method' => $request->{method});
    $must{'Mcp-Name'} = $request->{params}{name} if $request->{method} eq 'tools/call';
    for my $name (sort keys %must) {
        my ($value) = ($env->{'HTTP_' . uc $name =~ tr/-/_/r} // '') =~ /\A\s*(.*?)\s*\z/;
        $value = decode_utf8(decode_base64($1)) if $name eq 'Mcp-Name' && $value =~ /\A=[?]base64[?](.*)[?]=\z/;
        return $name if $value ne ($must{$name} // '');
    }
    return undef;
}

my %HANDLER = (DELETE => sub { end_session($_[1]{id}) }, GET => \&get, POST => \&post);

sub {
    my $env = shift;
    my ($method, $version, $id) = @$env{qw(REQUEST_METHOD HTTP_MCP_PROTOCOL_VERSION HTTP_MCP_SESSION_ID)};
    my $handler = $HANDLER{$method} or return [405, [Allow => 'DELETE, GET, POST'], []];
    return refuse(403, 'this origin is not allowed') if !is_allowed($env->{HTTP_ORIGIN});
    return refuse(406, 'Accept must name text/event-stream')
        if $method ne 'DELETE' && ($env->{HTTP_ACCEPT} || '') !~ m{text/event-stream|[*]/[*]}i;
    my $session = defined $id && session($id);
    return refuse(404, 'there is no such session') if defined $id && !$session && ($version // '') ne $VERSION;
    my ($message, $refusal) = $method eq 'POST' ? message($env) : ();
    return $refusal                           if $refusal;
    return modern($env, $message)             if $message && is_modern($version, $message);
    return refuse_version($message, $version) if $version && !grep { $_ eq $version } @LEGACY;
    return initialize($message)               if $message && ($message->{method} || '') eq 'initialize';
    return refuse(400, 'Mcp-Session-Id is missing', undef, $message) if !$session;
    return $handler->($env, $session, $message);
};
