# The bytes of a hub's streams: one line end a stream, the order of fields, the first block, keepalives, positions, and the data
# of gap events.

use lib 't/lib';
use Testing qw(native);
use EventSource::Hub;
use Plack::App::EventSource;
use Plack::App::EventSource::Connection;
use Plack::App::EventSource::PubSub;
use Test::EventSource;
use Testing::StreamPair;
use Testing::Subscriber;

# A hub, its epoch, and settings of an application that streams its channel a.
sub hub_of {
    my $hub = EventSource::Hub->new(per_process => 1, @_);
    return ($hub, $hub->epoch);
}

sub stream_of {
    my ($app, %request) = @_;
    return Test::EventSource->new(app => $app)->get('/a', %request);
}

# The raw body when a stream has received that many bytes.
sub raw_is {
    my ($stream, $expected, $what) = @_;
    wait_until(sub { $stream->is_open; EventSource::XS->dispatch; length $stream->raw >= length $expected });
    return is $stream->raw, $expected, $what;
}

# What the client of a subscriber has received when it has received a text.
sub text_is {
    my ($client, $expected, $what) = @_;
    $client->read_until(qr/\Q$expected\E\z/, 10);
    return is $client->body, $expected, $what;
}

subtest 'the first block is the position, with the retry' => sub {
    for my $row (
        ['by default',             [], "event: position\ndata: \nid: E-0\n\n"],
        ['with retry',             [retry          => [700, 700]], "event: position\nretry: 700\ndata: \nid: E-0\n\n"],
        ['with a type of its own', [position_event => 'where'],    "event: where\ndata: \nid: E-0\n\n"],
        ['as an id',               [position       => 'id'],       "id: E-0\n\n"],
        ['as an id with retry',          [position => 'id', retry => [700, 700]],   "retry: 700\nid: E-0\n\n"],
        ['with position none',           [position => 'none'],                      ''],
        ['with position none and retry', [position => 'none', retry => [700, 700]], "retry: 700\n"],
        ['with a preamble',              [preamble => 10], ":        \nevent: position\ndata: \nid: E-0\n\n"],
    ) {
        my ($what, $settings, $first) = @$row;
        for my $kind ('to_app', 'PubSub') {
            my ($hub, $epoch) = hub_of(@$settings);
            my $app =
                  $kind eq 'to_app'
                ? $hub->to_app(channels => sub { 'a' })
                : Plack::App::EventSource::PubSub->new(hub => $hub)->to_app;
            my $stream = stream_of($app);
            $hub->publish(a => 'hello');
            $first =~ s/\A(:  .*\n|)/$1:\nkeepalive: 15\n/ if $first !~ /keepalive/;
            raw_is($stream, ($first =~ s/E-/$epoch-/r) . "data: hello\nid: $epoch-1\n\n", "$kind $what");
            $stream->close;
        }
    }
    ok +EventSource::Hub->new(position => 'id')->publish(a => {event => 'position', data => 1}),
        'a hub without positions publishes events of that type';
    my ($hub, $epoch) = hub_of();
    raw_is stream_of($hub->to_app(channels => sub { 'a' }, position => 'id')),
        ":\nkeepalive: 15\nid: $epoch-0\n\n",
        'an application has a setting of its own';
};

subtest 'the word of a hub says what no publisher can' => sub {
    my $of_app = sub {
        return stream_of($_[0]->to_app(channels => sub { 'a' }, @_[1 .. $#_]));
    };
    my $word = sub { return qq(event: eventsource-hub\ndata: {$_[0]}\n\n) };
    my ($hub, $epoch) = hub_of(show_channel => 'data', keepalive => 0);
    $hub->publish(a => {data => 'x', key => 'k', retain => 1});
    my $event = qq(data: {"channel":"a","data":"x","key":"k"}\nid: $epoch-1\n\n);
    my $here  = "event: position\ndata: \nid: $epoch-1\n\n";
    raw_is $of_app->($hub), $word->('"show_channel":"data"') . $here, 'the data of its events shows their channels';
    raw_is $of_app->($hub, start => 'state'), $word->('"show_channel":"data","state":true') . $event . $here,
        'the state follows, too';
    raw_is $of_app->($hub, position => 'none'), $word->('"show_channel":"data"'), 'it needs no positions';
    ($hub, $epoch) = hub_of(keepalive => 0, show_channel => 'event');
    raw_is $of_app->($hub, start => 'state'), $word->('"state":true') . "event: position\ndata: \nid: $epoch-0\n\n",
        'another hub says that the state follows only';

    for my $field (qw(event comment data)) {
        my ($of_hub) = hub_of();
        ok !eval { $of_hub->publish(a => {event => 'eventsource-hub', $field => 'eventsource-hub'}); 1 },
            "no event has its type, with $field";
        is $@->field, 'event', 'which the error names';
    }
};

subtest 'an event ends with its id' => sub {
    my ($hub, $epoch) = hub_of(position => 'none');
    my $subscriber = Testing::Subscriber->open($hub, 'a');
    $hub->publish(a => {comment => 'c', event => 'e', id => 'mine', retry => 5, data => "one\ntwo"});
    $hub->publish(a => {retry => 5, data => 'x'});
    text_is $subscriber->client,
        ": c\nevent: e\nretry: 5\ndata: one\ndata: two\nid: mine\n\nid: $epoch-1\n\nretry: 5\ndata: x\nid: $epoch-2\n\n",
        'the id is the last line, whoever gave it, and the id of the hub follows one of the application';
};

subtest 'a quiet stream receives comments of one line, and its position if that has advanced' => sub {
    for my $row (['lf', "\n"], ['crlf', "\r\n"]) {
        my ($line_end, $end)   = @$row;
        my ($hub,      $epoch) = hub_of();
        my $subscriber =
            Testing::Subscriber->open($hub, 'a', {stream => {keepalive => 0.05, line_end => $line_end}});
        my $client = $subscriber->client;
        ok $client->read_until(qr/:$end:$end\z/), "$line_end: comments follow the position";
        like $client->body, qr/\Aevent: position${end}data: ${end}id: $epoch-0$end$end(?::$end)+\z/,
            "$line_end: a comment has no blank line";
        $hub->publish(other => 1);
        ok $client->read_until(qr/${end}event: position${end}data: ${end}id: $epoch-1$end$end:$end/),
            "$line_end: a position that has advanced is sent";
        $hub->publish(a => 2);
        ok $client->read_until(qr/data: 2${end}id: $epoch-2$end$end:$end/), "$line_end: an event has its id";
        my @positions = $client->body =~ /^id: /mg;
        is scalar @positions, 3, "$line_end: no position is sent twice";
        unlike $client->body, $line_end eq 'lf' ? qr/\r/ : qr/(?<!\r)\n/, "$line_end: all lines end in the same way";
    }
    my ($hub) = hub_of(position => 'none');
    my $client = Testing::Subscriber->open($hub, 'a', {stream => {keepalive => 0.05}})->client;
    $hub->publish(other => 1);
    ok $client->read_until(qr/\A:\n:\n:\n/), 'with position none a quiet stream receives comments only';
};

subtest 'a position replaces an id of the application that was published, not one that was pushed' => sub {
    my ($hub, $epoch) = hub_of();
    my %quiet  = (stream => {keepalive => 0.05});
    my $client = Testing::Subscriber->open($hub, 'a', {%quiet})->client;
    $hub->publish(a => {id => 'mine 1', data => 1});
    ok $client->read_until(
        qr/data: 1\nid: mine 1\n\nid: $epoch-1\n\n(?::\n)*event: position\ndata: \nid: $epoch-1\n\n:\n:\n/),
        'an id of a published event is, also for clients that take no id without an event';

    $client =
        Testing::Subscriber->open($hub, 'a', {%quiet, after => undef, last_event_id => 'from a database'})->client;
    ok $client->read_until(qr/\A:\n:\n/),
        'an id that the application resumes from itself is not replaced at the beginning';
    my ($stream, $other) = Testing::StreamPair->open(line_end => 'lf', keepalive => 0.05);
    my $conn = Plack::App::EventSource::Connection->new(stream => $stream);
    $conn->push({id => 'pushed 1', data => 'own'});
    $hub->subscribe($conn, 'a');
    $hub->publish(other => 1);
    ok $other->read_until(qr/:\n:\n/), 'keepalives follow an event that was pushed';
    like $other->body, qr/\Aid: pushed 1\ndata: own\n\n(?::\n)+\z/, 'an id that was pushed before is not replaced';
    $hub->publish(a     => 3);
    $hub->publish(other => 1);
    ok $other->read_until(qr/data: 3\nid: $epoch-[0-9]+\n\n(?::\n)*event: position\n/), 'an id of the hub is';
    $conn->push({id => 'pushed 2', data => 'own'});
    $hub->publish(other => 1);
    ok $other->read_until(qr/pushed 2.*:\n:\n/s), 'keepalives follow';
    unlike $other->body =~ s/.*pushed 2//sr, qr/position/, 'an id that was pushed later is not replaced';
};

subtest 'a stream has one line end, whoever writes to it' => sub {
    my ($hub, $epoch) = hub_of();
    for my $row ([undef, "\r\n"], ['crlf', "\r\n"], ['lf', "\n"]) {
        my ($line_end, $end) = @$row;
        for my $native (0, 1) {
            my $conn;
            my $app = Plack::App::EventSource->new(
                line_end   => $line_end,
                native     => $native ? 'auto' : 0,
                preamble   => 10,
                retry      => [700, 700],
                handler_cb => sub { $conn = shift; $hub->subscribe($conn, 'a'); $conn->push('pushed') },
            )->to_app;
            my $stream = stream_of($app);
            my $first  = $hub->publish(a => "one\ntwo");
            my $body =
                ":PADDING\nretry: 700\nevent: position\ndata: \nid: AT\n\ndata: pushed\n\ndata: one\ndata: two\nid: $first\n\n";
            my ($at) = $first =~ /-([0-9]+)\z/;
            $body =~ s/AT/"$epoch-" . ($at - 1)/e;
            $body =~ s/PADDING/' ' x (9 - length $end)/e;
            $body =~ s/\n/$end/g;
            raw_is($stream, $body, defined $line_end ? "line_end $line_end" : 'the default');
            $stream->close;
        }
    }
};

subtest 'many large events reach a client with CRLF whole and in order' => sub {
    my ($hub) = hub_of(position => 'none');
    my $subscriber = Testing::Subscriber->open($hub, 'a', {stream => {line_end => 'crlf', max_buffered => 100_000}});
    $hub->publish(a => "$_ " . "line\n" x ($_ * 4)) for 1 .. 200;
    my @data = $subscriber->data(200);
    is_deeply \@data, [map { "$_ " . "line\n" x ($_ * 4) } 1 .. 200], 'every event arrives once, in order';
    is $hub->stats->{delivered}, 200, 'the hub counts them';
};

subtest 'gap_data is the data of gap events' => sub {
    my @asked;
    my ($hub, $epoch) = hub_of(
        gap_event    => 'message',
        gap_data     => sub { push @asked, $_[0]; return "<turbo $_[0]{reason}>\nb\x{E4}d" },
        keep_history => {events => 1},
    );
    is_deeply \@asked, [map { {event => 'message', reason => $_} } qw(evicted unknown slow)],
        'the code is called once for each reason, when the hub is made';
    $hub->publish(a => {event => 'message', data => $_}) for 1 .. 3;
    my $client = Testing::Subscriber->open($hub, 'a', {last_event_id => "$epoch-0"})->client;
    text_is $client,
        "event: position\ndata: \nid: $epoch-0-0\n\nevent: message\ndata: <turbo evicted>\ndata: b\xC3\xA4d\nid: $epoch-0-2\n\n"
        . "event: message\ndata: 3\nid: $epoch-3\n\n",
        'a gap event has it, and events may have the same type';
    my ($plain) = hub_of(gap_data => '{"jsonrpc":"2.0"}');
    $client = Testing::Subscriber->open($plain, 'a', {last_event_id => 'x'})->client;
    ok $client->read_until(qr/^event: gap\ndata: \{"jsonrpc":"2.0"\}\nid: /m), 'a string is the data for every reason';

    my $app    = Plack::App::EventSource::PubSub->new(hub => $hub, authorize => sub { 1 })->to_app;
    my $answer = Test::EventSource->new(app => $app)->post('/a', json => {event => 'message', data => 'forged'});
    is $answer->code, 400, 'a publisher by POST may not send events of the type of gaps';
};

done_testing;
