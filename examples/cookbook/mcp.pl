#!/usr/bin/env perl
# Tools with the module MCP on any number of workers: its notifications go to a named hub. A client's GET is a stream of the
# hub, which outlives its worker and resumes.
use Mojolicious::Lite;
use EventSource::Hub;
use MCP::Server;

package Transport {
    use Mojo::Base 'MCP::Server::Transport::HTTP';

    has 'hub';

    sub notifications { return 1 }

    sub notify {
        my ($self, $session, $method, $params) = @_;
        return $self->_publish("mcp/$session", $method, $params);
    }

    sub notify_all {
        my ($self, $method, $params) = @_;
        return $self->_publish('mcp', $method, $params);
    }

    sub _publish {
        my ($self, $channel, $method, $params) = @_;
        return $self->hub->publish($channel, {json => {jsonrpc => '2.0', method => $method, params => $params || {}}});
    }
}

plugin 'EventSource::Framework::Mojolicious';

my $hub    = EventSource::Hub->new(name => 'mcp_tools', position => 'id');
my $server = MCP::Server->new(name => 'shop');
my $http   = Transport->new(server => $server, hub => $hub);
$server->transport($http);

$server->tool(
    name         => 'restock',
    description  => 'Restocks all items',
    input_schema => {type => 'object', properties => {}},
    code         => sub {
        my ($tool, $arguments) = @_;
        $tool->context->notify_progress(1, 1);
        $server->notify_list_changed('tools');
        return 'done';
    },
);

post '/' => sub { $http->handle_request(shift) };

get '/' => sub {
    my $c       = shift;
    my $session = $c->req->headers->header('Mcp-Session-Id')
        // return $c->render(text => 'Mcp-Session-Id is missing', status => 400);
    return $c->events($hub, 'mcp', "mcp/$session");
};

app->start;
