# Nodes on real servers: which subscriber receives which events, and which requests are refused.

use lib 't/lib';
use Testing;
use Testing::Checks qw(check run_checks);
use Testing::Client;
use JSON::PP ();
use Testing::Server;
use Test::EventSource;

my @KEY = ('X-Key' => 'open sesame');

# A client whose requests have another Host.
package HostClient {
    our @ISA = ('Testing::Client');

    sub request {
        my ($self, $path, %option) = @_;
        $self->{host} = $option{host};
        return $self->SUPER::request($path, %option);
    }
}

# A subscriber of a path, whose stream has begun.
sub subscriber {
    my ($server, $path, %option) = @_;
    return ($option{class} || 'Testing::Client')->stream($server->port, $path, %option);
}

# The response to a request for anything but a stream.
sub asked {
    my ($server, $method, $path, $body, @headers) = @_;
    push @headers, 'Content-Length' => length $body if defined $body && !grep { $_ eq 'Transfer-Encoding' } @headers;
    return Testing::Client->ask($server->port, $path, method => $method, headers => \@headers, then => $body);
}

# Publishes with the key, and returns the id.
sub publish {
    my ($server, $path, $body, @headers) = @_;
    my $client = asked($server, POST => $path, $body, @KEY, @headers);
    is $client->status, 200, "published to $path" or diag $client->body;
    return JSON::PP::decode_json($client->body)->{id};
}

sub stats { return JSON::PP::decode_json(asked($_[0], GET => '/stats')->body) }

# The events of a subscriber, each as its lines, without the blocks that have no data.
sub events {
    return [grep { /^data:/m && !/^event: position$/m } split /\n\n/, $_[0]->text];
}

# The id of an event that has another one after it.
my $read;

check 'subscribers receive the events of their node' => sub {
    my $server = shift;
    my @news   = map { subscriber($server, '/eventsource/news') } 1, 2;
    my $other  = subscriber($server, '/eventsource/weather');
    is $other->header('Content-Type'), 'text/event-stream; charset=UTF-8', 'the type of a stream is text/event-stream';

    my @ids = publish($server, '/eventsource/news', "two\nlines");
    push @ids,
        publish($server, '/eventsource/news', '{"event":"tick","json":[1]}', 'Content-Type' => 'application/json');
    push @ids,
        publish($server, '/eventsource/news', 'data=f+%C3%B6', 'Content-Type' => 'application/x-www-form-urlencoded');
    push @ids, asked($server, GET => '/publish?news=perl')->body;
    my $rain = publish($server, '/eventsource/weather', 'rain');

    my @expected = ("data: two\ndata: lines", "event: tick\ndata: [1]", "data: f \xC3\xB6", 'data: perl');
    for my $subscriber (@news) {
        ok $subscriber->read_until(qr/data: perl\n(?:.+\n)*\n/), 'a subscriber receives the last event';
        my @events = @{events($subscriber)};
        is_deeply [map { s/^id: .*\n|\nid: .*//mr } @events], \@expected,
            'a subscriber receives every event of its node once, and no other';
        is_deeply [map { /^id: (.*)$/m } @events], \@ids, 'the events have the ids of the responses';
    }
    ok $other->read_until(qr/data: rain\n(?:.+\n)*\n/), 'a subscriber of another node receives its event';
    like $other->text, qr/^id: \Q$rain\E$/m, 'the event of the other node has its id';
    is scalar @{events($other)}, 1, 'the subscriber of the other node receives one event';
    $_->leave for @news, $other;
    $read = $ids[1];
};

check 'a subscriber that reconnects receives what it missed' => sub {
    my $server = shift;
    my $back   = subscriber($server, '/eventsource/news', headers => ['Last-Event-ID' => $read]);
    ok $back->read_until(qr/data: perl\n(?:.+\n)*\n/),
        'a subscriber that reconnects receives the events that it missed';
    is scalar @{events($back)}, 2, 'a subscriber that reconnects receives no other event';
};

check 'names are literal' => sub {
    my $server = shift;
    for my $case (
        ['/eventsource/gr%C3%B6%C3%9Fe', '/eventsource/gr%c3%b6%c3%9fe', 'letters that are not ASCII'],
        ['/eventsource/*',               '/eventsource/%2A',             'a star'],
        ['/eventsource/a/b',             '/eventsource/a%2Fb',           'a slash'],
        ['/eventsource/%252F',           '/eventsource/%252F',           'a percent sign'],
    ) {
        my ($subscribed, $published, $what) = @$case;
        my $subscriber = subscriber($server, $subscribed);
        publish($server, '/eventsource/all', 'for nobody') if $what eq 'a star';
        publish($server, '/eventsource//',   'for nobody') if $what eq 'a percent sign';
        publish($server, $published,         'for this node');
        ok $subscriber->read_until(qr/for this node\n(?:.+\n)*\n/), "$what: the node's event comes";
        is scalar @{events($subscriber)}, 1, "$what: no event of another node arrives";
    }
};

check 'requests are refused' => sub {
    my $server = shift;
    is asked($server, GET => '/eventsource/secrets')->status,           403, 'GET without the key: 403';
    is asked($server, HEAD => '/eventsource/secrets')->status,          403, 'HEAD: 403';
    is asked($server, HEAD => '/eventsource/news')->status,             200, 'HEAD of a stream that may be had: 200';
    is asked($server, POST => '/eventsource/news', 'x')->status,        403, 'POST without the key: 403';
    is asked($server, GET => '/declared/weather')->status,              404, 'a node that is not declared: 404';
    is asked($server, GET => '/eventsource/')->status,                  404, 'no node: 404';
    is asked($server, GET => '/eventsource')->status,                   404, 'not even a slash: 404';
    is asked($server, GET => '/eventsource/a%0Ab')->status,             400, 'a control character: 400';
    is asked($server, PUT => '/eventsource/news', 'x')->status,         405, 'another method: 405';
    is asked($server, POST => '/eventsource/nobody', '', @KEY)->status, 200, 'POST of nothing: 200';
    is asked($server, POST => '/eventsource/news', 'x' x 65_537, @KEY)->status, 413, 'a body that is too long: 413';
    is asked($server, POST => '/eventsource/news', 'x', @KEY, Origin => 'http://evil.example')->status, 403,
        'a page of another origin: 403';
    is asked($server, POST => '/eventsource/news', 'x', @KEY, Origin => 'http://127.0.0.1:' . $server->port)->status,
        200,
        'a page of its own: 200';
    is asked($server, GET => '/elsewhere/news')->status, 404, 'another host: 404';

    my $secrets = subscriber($server, '/eventsource/secrets', headers => \@KEY);
    publish($server, '/eventsource/secrets', 'psst');
    ok $secrets->read_until(qr/data: psst/), 'an authorized client receives an event';
};

check 'chunked bodies' => sub {
    my $server     = shift;
    my $name       = $server->{name};
    my $subscriber = subscriber($server, '/eventsource/chunked');
    my $client     = asked $server,
        POST => '/eventsource/chunked',
        "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", @KEY, 'Transfer-Encoding' => 'chunked';
    if ($name =~ /\AStar/ || $name eq 'Feersum' && Testing::Server->has_new_feersum) {    # the others do not decode it
        is $client->status, 200, 'a chunked body is published';
        ok $subscriber->read_until(qr/data: abcde/), 'a chunked body is published whole';
        my $chunk = sprintf "%x\r\n%s\r\n", 40_000, 'x' x 40_000;
        is asked(
            $server,
            POST => '/eventsource/chunked',
            "$chunk${chunk}0\r\n\r\n", @KEY, 'Transfer-Encoding' => 'chunked'
            )->status,
            413, 'a chunked body above max_body is a 413';
    }
    else {
        is $client->status, 411, "$name cannot read a chunked body, and says so: 411";
    }
};

check 'nodes by host' => sub {
    my $server = shift;
    for my $case (['events.example', '/news'], ['Nodes.Example:8080', '/elsewhere/news']) {
        my ($host, $path) = @$case;
        my $subscriber = subscriber($server, $path, class => 'HostClient', host => $host);
        publish($server, '/eventsource/news', "to $host");
        ok $subscriber->read_until(qr/data: to \Q$host\E/), "a node by host: $host$path";
    }
};

check 'a node without subscribers costs nothing' => sub {
    my $server = shift;
    ok wait_until(sub { !stats($server)->{streams} }), 'no stream is left when all clients have left';
    my $stats = stats($server);
    is $stats->{news}, 0, 'the node has no subscriber';
    publish($server, '/eventsource/nobody', 'x');
    is stats($server)->{delivered}, $stats->{delivered}, 'an event without subscribers is not delivered';
};

for my $name (Testing::Server->names) {
    subtest $name => sub {
        my $server = Testing::Server->start($name, 't/pubsub/pubsub.psgi', workers => 1);
        run_checks($server);
    };
}

# The same with a named hub, and with four workers where a server has workers: whichever publishes.
for my $name (Testing::Server->tested(qw(Starman Twiggy Feersum uWSGI))) {
    subtest "$name, with a named hub" => sub {
        Testing->need('named_hubs');
        Test::EventSource->private_hub;
        my %workers = $name eq 'Twiggy' ? () : (workers => 4);
        my $server = Testing::Server->start($name, 't/pubsub/pubsub.psgi', %workers, env => {PUBSUB_HUB => "of-$name"});
        run_checks($server);
    };
}

# Feersum does not say that it has several processes.
for my $name (Testing::Server->tested(qw(Starman Feersum))) {
    subtest "$name: several workers without a named hub do not publish" => sub { do_not_publish($name) };
}

sub do_not_publish {
    my $name   = shift;
    my $server = Testing::Server->start($name, 't/pubsub/pubsub.psgi', workers => 4, env => {PUBSUB_MISTAKE => 1});
    is asked($server, POST => '/eventsource/news', 'x')->status, 403, 'a client that may not publish is a 403';
    my $refused = asked($server, POST => '/eventsource/news', 'x', @KEY);
    is $refused->status, 500, 'a publish is refused';
    is $refused->body,
        'Not published: it would reach only some subscribers. The log of the server says what to do' . "\n",
        'the response says why';
    my $said =
        qr/^Plack::App::EventSource::PubSub: publish: refused: this server may have several processes.*name => .*per_process/m;
    ok wait_until(sub { $server->log =~ $said }), 'the log says what to do';
    my $subscriber = subscriber($server, '/eventsource/news');
    ok wait_until(sub { $server->log =~ /^EventSource::Hub: this server may have several.*name => 'shop'/m }),
        'a stream is open all the same, with a warning that names the remedy';
    return;
}

done_testing;
