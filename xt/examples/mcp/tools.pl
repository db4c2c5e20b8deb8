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
        is_job      => 1,
        run         => sub {
            my ($given, $call) = @_;
            my $question = {role => 'user', content => {type => 'text', text => $given->{prompt}}};
            my $answer   = $call->ask('sampling/createMessage', {messages => [$question], maxTokens => 100});
            return text("LLM response: $answer->{content}{text}");
        },
    },
    test_elicitation => {
        description => 'Asks the user',
        input       => with('message'),
        is_job      => 1,
        run         => sub {
            my ($given, $call) = @_;
            my %schema = (type => 'object', properties => {username => {type => 'string'}}, required => ['username']);
            my $answer = $call->ask('elicitation/create', {message => $given->{message}, requestedSchema => \%schema});
            return text("User response: $answer->{action} $answer->{content}{username}");
        },
    },
};
