# The tools that the conformance suite of MCP calls, for examples/mcp/app.psgi (MCP_TOOLS).
use strict;
use warnings;

sub text { return {content => [{type => 'text', text => shift}]} }

my $NOTHING = {type => 'object', properties => {}};

sub with { return {type => 'object', properties => {$_[0] => {type => 'string'}}, required => [$_[0]]} }

# Tools that return contents of these types.
my %CONTENT = (
    audio => {
        type     => 'audio',
        data     => 'UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA=',
        mimeType => 'audio/wav'
    },
    image    => {type => 'image', data => 'R0lGODlhAQABAAAAACwAAAAAAQABAAACAkQBADs=', mimeType => 'image/gif'},
    resource =>
        {type => 'resource', resource => {uri => 'test://embedded', mimeType => 'text/plain', text => 'A resource'}},
    text => {type => 'text', text => 'This is a simple text response for testing.'},
);

sub returning {
    my @content = map { $CONTENT{$_} } my @types = @_;
    return {description => "Returns @types", input => $NOTHING, run => sub { return {content => \@content} }};
}

sub form {
    my ($message, $field) = @_;
    my %schema = (type => 'object', properties => {$field => {type => 'string'}}, required => [$field]);
    return {method => 'elicitation/create', params => {message => $message, requestedSchema => \%schema}};
}

sub model {
    my $question = {role => 'user', content => {type => 'text', text => shift}};
    return {method => 'sampling/createMessage', params => {messages => [$question], maxTokens => 100}};
}

# A tool that says "state-ok" when it has the answers.
sub asking {
    my %questions = @_;
    my $run       = sub { my %answer = $_[1]->ask(%questions); text(join ' ', 'state-ok', sort keys %answer) };
    return {description => 'Asks', input => $NOTHING, is_job => 1, run => $run};
}

return {
    test_audio_content          => returning('audio'),
    test_embedded_resource      => returning('resource'),
    test_image_content          => returning('image'),
    test_multiple_content_types => returning(qw(text image resource)),
    test_simple_text            => returning('text'),
    test_error_handling         => {
        description => 'Fails',
        input       => $NOTHING,
        is_job      => 1,
        run         => sub { die "This tool intentionally returns an error for testing\n" },
    },
    test_tool_with_logging => {
        description => 'Logs',
        input       => $NOTHING,
        is_job      => 1,
        run         => sub {
            my ($given, $call) = @_;
            $call->log(info => 'Tool execution started');
            $call->pause(0.05);
            $call->log(info => 'Tool processing data');
            $call->pause(0.05);
            $call->log(info => 'Tool execution completed');
            return text('logged');
        },
    },
    test_tool_with_progress => {
        description => 'Reports progress',
        input       => $NOTHING,
        is_job      => 1,
        run         => sub {
            my ($given, $call) = @_;
            for my $done (0, 50, 100) {
                $call->progress($done, 100);
                $call->pause(0.05);
            }
            return text('done');
        },
    },
    test_reconnection => {
        description => 'Closes the connection before it has a result',
        input       => $NOTHING,
        is_job      => 1,
        run         => sub {
            my ($given, $call) = @_;
            $call->disconnect;
            $call->pause(0.1);
            return text('after the connection');
        },
    },
    test_sampling => {
        description => 'Asks the model of the client',
        input       => with('prompt'),
        needs       => ['sampling'],
        is_job      => 1,
        run         => sub {
            my ($given, $call) = @_;
            my %answer = $call->ask(question => model($given->{prompt}));
            return text("LLM response: $answer{question}{content}{text}");
        },
    },
    test_elicitation => {
        description => 'Asks the user',
        input       => with('message'),
        needs       => ['elicitation'],
        is_job      => 1,
        run         => sub {
            my ($given, $call) = @_;
            my %answer = $call->ask(user => form($given->{message}, 'username'));
            return text("User response: $answer{user}{action} $answer{user}{content}{username}");
        },
    },
    test_missing_capability =>
        {description => 'Needs a model', input => $NOTHING, needs => ['sampling'], run => sub { text('') }},
    test_logging_tool => {
        description => 'Logs',
        input       => $NOTHING,
        is_job      => 1,
        run         => sub { $_[1]->log(emergency => 'logged'); text('logged') },
    },
    test_trigger_tool_change => {
        description => 'Says that the tools have changed',
        input       => $NOTHING,
        is_job      => 1,
        run         => sub { $_[1]->notify('tools/list_changed'); text('notified') },
    },

    # Tools of 2026-07-28, which ask.
    test_streaming_elicitation                 => asking(user_name        => form('What is your name?', 'name')),
    test_input_required_result_elicitation     => asking(user_name        => form('What is your name?', 'name')),
    test_input_required_result_sampling        => asking(capital_question => model('What is the capital of France?')),
    test_input_required_result_list_roots      => asking(client_roots     => {method => 'roots/list', params => {}}),
    test_input_required_result_request_state   => asking(confirm          => form('Please confirm', 'ok')),
    test_input_required_result_tampered_state  => asking(confirm          => form('Please confirm', 'ok')),
    test_input_required_result_multiple_inputs => asking(
        user_name    => form('What is your name?', 'name'),
        greeting     => model('Generate a greeting'),
        client_roots => {method => 'roots/list', params => {}},
    ),
    test_input_required_result_multi_round => {
        description => 'Asks twice',
        input       => $NOTHING,
        is_job      => 1,
        run         => sub {
            my ($given, $call) = @_;
            my %name  = $call->ask(step1 => form('Step 1: What is your name?',            'name'));
            my %color = $call->ask(step2 => form('Step 2: What is your favourite color?', 'color'));
            return text("$name{step1}{content}{name} likes $color{step2}{content}{color}");
        },
    },
    test_input_required_result_capabilities => {
        description => 'Asks what the client can answer',
        input       => $NOTHING,
        is_job      => 1,
        run         => sub {
            my ($given, $call) = @_;
            my %of  = (elicitation => form('What is your name?', 'name'), sampling => model('Generate a greeting'));
            my %can = map { ($_ => $of{$_}) } grep { $call->{session}{client}{$_} } keys %of;
            return text(join ' ', 'answered:', sort keys %{{$call->ask(%can)}});
        },
    },
};
