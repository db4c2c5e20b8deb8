# The recipe for the module MCP (examples/cookbook/mcp.pl) on servers with four workers: notifications of a tool on one worker
# reach the streams of all. PERL5LIB names the folders of MCP and of what it needs; otherwise the test is skipped.

use lib qw(t/lib examples/live/lib);
use Testing;
use JSON::PP qw(decode_json);
use Test::EventSource;
use Testing::Deadline  qw(wait_until);
use Testing::Developer qw(has_module);
use Testing::MojoServer;
use Testing::Process qw(children_of none_runs);
use Testing::Server;

Testing->need('named_hubs');
plan skip_all => 'MCP::Server is not in PERL5LIB' if !has_module('MCP::Server');

my $hub     = Test::EventSource->private_hub(name => 'mcp_tools');
my %SERVERS = (
    prefork => sub { Testing::MojoServer->start('prefork', 'examples/cookbook/mcp.pl', args => ['-w', 4]) },
    Starman => sub { Testing::Server->start('Starman', 'examples/cookbook/mcp.pl', workers => 4) },
);

for my $name (sort keys %SERVERS) {
    subtest $name => sub {
        my $server = $SERVERS{$name}->();
        my $es     = Test::EventSource->new(url => $server->url(''), timeout => 10);
        my $post   = sub {
            my ($session, $method, %params) = @_;
            my %message = (jsonrpc => '2.0', id => 1, method => $method, params => \%params);
            return $es->post('/', json => \%message, headers => $session ? ['Mcp-Session-Id' => $session] : []);
        };
        my @sessions = map { $post->(undef, 'initialize')->header('Mcp-Session-Id') } 1, 2;
        my @streams  = map { $es->get('/', headers => ['Mcp-Session-Id' => $_]) } @sessions;
        ok $es->wait_for(sub { $hub->subscribers('mcp') == 2 }), 'two clients have streams';
        is $es->get('/')->status, 400, 'one without session has none';
        my $is_able = decode_json($post->(undef, 'initialize')->content)->{result}{capabilities}{tools};
        is_deeply $is_able, {listChanged => JSON::PP::true}, 'the server says that it notifies';

        my $call = sub { $post->($sessions[0], 'tools/call', name => 'restock', _meta => {progressToken => 7}) };
        is decode_json($call->()->content)->{result}{content}[0]{text}, 'done', 'one of them calls a tool';
        like $streams[0]->next_event->{data}, qr{notifications/progress},           'it is sent the progress';
        like $_->next_event->{data},          qr{notifications/tools/list_changed}, 'both are notified' for @streams;

        my @workers = children_of($server->pid);
        kill KILL => @workers;
        ok wait_until(sub { none_runs(@workers) }), 'all workers are killed';
        $streams[1]->close;
        ok $es->wait_for(sub { $hub->subscribers('mcp') == 1 }), 'a client has left';
        $call->();
        $streams[0]->next_event;
        like $streams[0]->next_event->{data}, qr{notifications/tools/list_changed}, 'a stream outlives them';
        $streams[1]->reconnect;
        like $streams[1]->next_event->{data}, qr{notifications/tools/list_changed},
            'the other client has missed nothing';
        $_->close for @streams;
        ok $es->wait_for(sub { $hub->subscribers('mcp') == 0 }), 'both have left';
    };
}

done_testing;
