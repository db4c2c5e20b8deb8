# An MCP server in plain PSGI, for any number of workers: the transport Streamable HTTP of version 2025-11-25 of the Model
# Context Protocol. README.md beside this file says how to run it.
#
# A named hub has all that the workers share:
#   session/SESSION        state: the session, as long as it lives
#   call/SESSION/STREAM    what the client is sent for one call of a tool, with ids of the form STREAM/NUMBER
#   in/SESSION             what the client has sent to calls that run: its answers, and what it cancels
#   jobs                   nothing: all calls that run are its subscribers
#   server/SESSION, server what the server has to say to one client, and to all
use strict;
use warnings;

use Encode qw(encode_utf8);
use EventSource::Hub;
use Fcntl          qw(F_SETFD);
use File::Basename qw(dirname);
use File::Spec;
use JSON::MaybeXS qw(decode_json encode_json);
use Plack::App::EventSource;
use Plack::Request;
use Scalar::Util qw(looks_like_number);

my @VERSIONS      = qw(2025-11-25 2025-06-18 2025-03-26);
my @LEVELS        = qw(debug info notice warning error critical alert emergency);
my @CAPABILITIES  = qw(elicitation roots sampling);                                 # of clients, which tools may use
my $SESSION_LASTS = 86_400;                                                         # seconds
my $RETRY_AFTER   = 60;                                                             # seconds
my $MOST_CALLS    = 16;                                                             # of a session that run at a time
my $MOST_JOBS     = 128;                                                            # of all sessions
my $MOST_LEVELS   = 100;                                                            # of JSON; what is sent on has more
my $MOST_BYTES    = 4_194_304;                                                      # of a request's content
my $LOST          = '{"jsonrpc":"2.0","method":"notifications/message",'
    . '"params":{"level":"warning","data":"The server no longer has all messages of this stream."}}';
my $FOLDER         = dirname(File::Spec->rel2abs(__FILE__));
my $TOOLS          = File::Spec->rel2abs($ENV{MCP_TOOLS} || "$FOLDER/tools.pl");
my $tools          = do $TOOLS or die "$TOOLS: ", $@ || $!, "\n";
my $json           = JSON::MaybeXS->new->utf8->max_depth($MOST_LEVELS);
my %allowed_origin = map { ($_ => 1) } split /,/, $ENV{MCP_ORIGINS} || '';

my $hub = EventSource::Hub->new(
    name         => 'mcp',
    socket       => $ENV{MCP_SOCKET},
    start        => 'oldest',
    retry        => 500,
    keep_history => {events => 1000, seconds => 3600},
    gap_event    => 'message',
    gap_data     => $LOST,
);

# A call's stream begins with its own first event, whose id names the stream. After max_age the client comes back for the rest.
my $calls = $hub->to_app(
    methods  => ['GET', 'POST'],
    channels => sub { $_[0]{'mcp.channel'} },
    label    => \&label,
    position => 'none',
    max_age  => 300,
);

# A response that is there at once, for a client that would rather have a stream.
my $single = Plack::App::EventSource->new(
    methods    => ['POST'],
    line_end   => 'lf',
    handler_cb => sub {
        my ($conn, $env) = @_;
        $conn->push({data => $env->{'mcp.response'}, bytes => 1});
        $conn->close;
    },
)->to_app;

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
    return [$status, ['Content-Type' => 'application/json', @headers], [encode_json({jsonrpc => '2.0', %$message})],];
}

# For a request that is not accepted by HTTP.
sub refuse {
    my ($status, $why, $code, @headers) = @_;
    return answer($status, {id => undef, error => {code => $code || -32_000, message => $why}}, @headers);
}

# For a request of JSON-RPC that is understood and fails.
sub fail {
    my ($request, $code, $why) = @_;
    return answer(200, {id => $request->{id}, error => {code => $code, message => $why}});
}

sub succeed {
    my ($request, $result, @headers) = @_;
    return answer(200, {id => $request->{id}, result => $result}, @headers);
}

# The result of a tool that has failed: the model of the client is to see why.
sub failure { return {isError => \1, content => [{type => 'text', text => shift}]} }

# Sessions

# The state of a session has one event, or none if there is no such session.
sub session {
    my ($event) = $hub->state('session/' . shift);
    return $event && decode_json(encode_utf8($event->{data}));
}

# Returns false if the hub has no room for it. To look for old sessions takes a second or two if there are 100,000 of them.
my $looks_again = 0;

sub keep {
    my $session = shift;
    my %event   = (event => 'session', key => 'session', json => $session, retain => 1);
    until (eval { $hub->publish("session/$session->{id}", \%event); 1 }) {
        my $error = $@;
        die $error if !ref $error || $error->code ne 'full';
        return 0   if time < $looks_again;
        $looks_again = time + $RETRY_AFTER;
        forget_old_sessions();
    }
    return 1;
}

sub is_full { return refuse(503, 'the server has no room for the session', -32_000, 'Retry-After' => $RETRY_AFTER) }

# Sessions that their clients have not ended. The time at which a session began is a part of its id.
sub forget_old_sessions {
    my $before = sprintf 'session/%010d', time - $SESSION_LASTS;
    my @old;
    $hub->process->channels('session/*', sub { push @old, $_[0]{name} if $_[0]{keys} && $_[0]{name} lt $before });
    $hub->forget($_, 'session') for @old;
    return;
}

sub initialize {
    my $request = shift;
    my $params  = $request->{params} || {};
    my $wanted  = $params->{protocolVersion} // '';
    my $can     = $params->{capabilities}    // {};
    return fail($request, -32_602, 'the capabilities must be an object') if ref $can ne 'HASH';
    my %client  = map { ($_ => 1) } grep { $can->{$_} } @CAPABILITIES;
    my $session = {id => sprintf('%010d-%s', time, random_hex()), level => 'info', client => \%client};
    keep($session) or return is_full();
    forget_old_sessions() if rand() < 0.01;
    my ($version) = ((grep { $_ eq $wanted } @VERSIONS), $VERSIONS[0]);
    return succeed(
        $request,
        {
            protocolVersion => $version,
            serverInfo      => {name  => 'eventsource-example', version => EventSource::Hub->VERSION},
            capabilities    => {tools => {listChanged => \1},   logging => {}},
        },
        'Mcp-Session-Id' => $session->{id},
    );
}

# Its calls end as if they were cancelled, and its streams on all workers end.
sub end_session {
    my $id = shift;
    $hub->forget("session/$id", 'session');
    $hub->publish("in/$id", {json => {method => 'notifications/cancelled', is_end => 1}});
    $hub->end(label => "session/$id");
    return [204, [], []];
}

# Requests

# The checks of types of JSON Schema; the tool checks those that are not here.
my %IS = (
    integer => sub { is_string($_[0]) && $_[0] =~ /\A-?[0-9]+\z/ },
    number  => sub { is_string($_[0]) && looks_like_number($_[0]) },
    string  => \&is_string,
);

my %METHOD = (
    'logging/setLevel' => sub {
        my ($env, $session, $request) = @_;
        my $level = $request->{params}{level} // '';
        return fail($request, -32_602, "the level must be one of @LEVELS") if !grep { $_ eq $level } @LEVELS;
        keep({%$session, level => $level}) or return is_full();
        return succeed($request, {});
    },
    'ping'       => sub { succeed($_[2], {}) },
    'tools/call' => \&call,
    'tools/list' => sub {
        my ($env, $session, $request) = @_;
        my @tools = map { {name => $_, description => $tools->{$_}{description}, inputSchema => $tools->{$_}{input}} }
            sort keys %$tools;
        return succeed($request, {tools => \@tools});
    },
);

# A tool that takes no time answers here, as JSON. Any other one is a job, which neither holds this worker nor ends with it: the
# response is a stream of what the job publishes.
sub call {
    my ($env, $session, $request) = @_;
    my $name      = $request->{params}{name} // '';
    my $tool      = $tools->{$name} or return fail($request, -32_602, 'there is no tool of that name');
    my $arguments = $request->{params}{arguments} // {};
    return fail($request, -32_602, 'the arguments must be an object') if ref $arguments ne 'HASH';
    my $problem = problem_of($tool->{input}, $arguments);
    return succeed($request, failure($problem))                                  if $problem;
    return succeed($request, eval { $tool->{run}->($arguments) } || failure($@)) if !$tool->{is_job};
    my $in      = inbox($session) or return fail($request, -32_000, 'too many calls run at this time');
    my $stream  = random_hex();
    my $channel = "call/$session->{id}/$stream";
    $hub->publish($channel, {id => "$stream/0", data => ''});
    my %job = (in => fileno $in, tools => $TOOLS, session => $session, stream => $stream, request => $request);
    return fail($request, -32_603, 'the tool cannot be started') if !start(\%job);
    $env->{'mcp.channel'} = $channel;
    return $calls->($env);
}

# The problem of arguments: a required one is missing, or one is of another type than its schema has.
sub problem_of {
    my ($schema, $arguments) = @_;
    my %is_required = map { ($_ => 1) } @{$schema->{required} || []};
    my $properties  = $schema->{properties};
    for my $name (sort keys %$properties) {
        my $type = $properties->{$name}{type} // '';
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
    my $in      = $hub->process->follow($in_name, 'jobs', {start => 'oldest'})->socket;
    return if $hub->subscribers($in_name) > $MOST_CALLS || $hub->subscribers('jobs') > $MOST_JOBS;
    fcntl $in, F_SETFD, 0 or die "fcntl: $!\n";
    return $in;
}

sub start {
    my $job     = shift;
    my $encoded = encode_json($job);
    local $SIG{PIPE} = 'IGNORE';
    open my $input, '|-', 'setsid', '--fork', "$FOLDER/call", $job->{stream} or return 0;
    print {$input} $encoded;
    return close $input;
}

# A message that expects no response: the call that it is for reads it.
sub take {
    my ($session, $message) = @_;
    my $is_for_call = !defined $message->{method} || $message->{method} eq 'notifications/cancelled';
    $hub->publish("in/$session->{id}", {json => $message}) if $is_for_call;
    return [202, [], []];
}

# A client accepts both types. The one that it names first is the one that it is sent, if the server has the choice.
sub post {
    my ($env, $session, $message) = @_;
    return take($session,
        {map { ($_ => $message->{$_}) } grep { exists $message->{$_} } qw(error id method params result)})
        if !defined $message->{method} || !exists $message->{id};
    my $code = $METHOD{$message->{method}} or return fail($message, -32_601, "there is no method $message->{method}");
    my $response = $code->($env, $session, $message);
    return $response if ref $response ne 'ARRAY' || $env->{HTTP_ACCEPT} !~ m{\A\s*text/event-stream}i;
    $env->{'mcp.response'} = $response->[2][0];
    return $single->($env);
}

# Without the id of a call's event this is the stream for what the server has to say.
sub get {
    my ($env, $session) = @_;
    return $notifications->($env) if ($env->{HTTP_LAST_EVENT_ID} || '') !~ m{\A([0-9a-f]{32})/};
    $env->{'mcp.channel'} = "call/$session->{id}/$1";
    return $calls->($env);
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
sub is_id { return encode_json([shift]) =~ /\A\[(?:"|-?[0-9]{1,15}(?:[.]0)?\])/ }

# Numbers are strings, too.
sub is_string { return defined $_[0] && !ref $_[0] }

# A page of another origin could reach a server on its visitor's machine (DNS rebinding).
sub is_allowed {
    my $origin = shift;
    return
           !defined $origin
        || $allowed_origin{$origin}
        || $origin =~ m{\Ahttps?://(?:localhost|127[.]0[.]0[.]1|\[::1\])(?::[0-9]+)?\z};
}

my %HANDLER = (DELETE => sub { end_session($_[1]{id}) }, GET => \&get, POST => \&post);

sub {
    my $env     = shift;
    my $version = $env->{HTTP_MCP_PROTOCOL_VERSION};
    my $handler = $HANDLER{$env->{REQUEST_METHOD}} or return [405, [Allow => 'DELETE, GET, POST'], []];
    return refuse(403, 'this origin is not allowed') if !is_allowed($env->{HTTP_ORIGIN});
    return refuse(406, 'Accept must name text/event-stream')
        if $env->{REQUEST_METHOD} ne 'DELETE' && ($env->{HTTP_ACCEPT} || '') !~ m{text/event-stream|[*]/[*]}i;
    return refuse(400, "this server has the versions @VERSIONS") if $version && !grep { $_ eq $version } @VERSIONS;
    my $id      = $env->{HTTP_MCP_SESSION_ID};
    my $session = defined $id && $id =~ /\A[0-9a-f-]{43}\z/ && session($id);
    return refuse(404, 'there is no such session') if defined $id && !$session;
    my ($message, $refusal) = $env->{REQUEST_METHOD} eq 'POST' ? message($env) : ();
    return $refusal                                 if $refusal;
    return initialize($message)                     if $message && ($message->{method} || '') eq 'initialize';
    return refuse(400, 'Mcp-Session-Id is missing') if !$session;
    return $handler->($env, $session, $message);
};
