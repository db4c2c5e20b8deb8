# The state: retained events, streams that begin with them, forgotten keys, and the bounds.

use lib 't/lib';
use Testing qw(native);
use EventSource::Hub;
use Testing::Subscriber qw(blocks);

# How the hub says that the state follows.
my $WORD = qr/event: eventsource-hub\ndata: [{]"state":true[}]\n\n/;

# A stream that begins with the state receives these blocks, each as a text: "event data", "position" or "gap reason".
sub receives {
    my ($hub, $topic, $option, $expected, $name) = @_;
    my $subscriber = Testing::Subscriber->open($hub, $topic, {start => 'state', %$option});
    my $received   = sub {
        [map { text_of($_) } grep { defined $_->{data} || defined $_->{id} } blocks($subscriber->client->text)]
    };
    wait_until(5, sub { $subscriber->client->read_until(qr/\z.^/, 0.01); @{$received->()} >= @$expected });
    $subscriber->conn->close;
    $subscriber->client->read_all or fail 'the stream ends';
    return is_deeply $received->(), $expected, $name;
}

sub text_of {
    my $block = shift;
    return 'position' if !defined $block->{data};
    return join ' ', grep { defined } $block->{event}, $block->{data};
}

sub id_of {
    my ($epoch, $number) = @_;
    return {last_event_id => "$epoch-$number"};
}

subtest 'a stream begins with the newest event of each key' => sub {
    my $hub = EventSource::Hub->new(keep_history => {events => 2});
    receives $hub, 'stock', {}, ['position'], 'an empty state is a position';
    $hub->publish(stock => {key => 'a', data => 'a1', retain => 1});
    $hub->publish(stock => {key => 'b', data => 'b1', retain => 1});
    $hub->publish(stock => {key => 'a', data => 'a2', retain => 1});
    $hub->publish(stock => {key => 'b', data => 'not retained'});
    $hub->publish(stock => {key => 'c', data => 'not retained', retain => 0});
    $hub->publish(shop  => {data => 'open',   retain => 1});
    $hub->publish(shop  => {data => 'closed', retain => 1});
    receives $hub, 'stock', {}, ['b1', 'a2', 'position'], 'in the order of their ids, then a position';
    receives $hub, 'shop',  {}, ['closed', 'position'],   'events without a key have one together';
    receives $hub, EventSource::Hub->pattern('s*'), {}, ['b1', 'a2', 'closed', 'position'], 'of a pattern';
    is_deeply $hub->stats->{state}{keys}, 3, 'the statistics count keys';
    my $e          = $hub->epoch;
    my $subscriber = Testing::Subscriber->open($hub, 'stock', {start => 'state'});
    $hub->publish(stock => {key => 'c', data => 'c1', retain => 1});
    my @blocks = $subscriber->blocks_at(3);
    is_deeply \@blocks,
        [{id => "$e-2", data => 'b1'}, {id => "$e-3", data => 'a2'}, {id => "$e-7"}, {id => "$e-8", data => 'c1'},],
        'each with its id, then the position of the hub, then what comes';
};

subtest 'the position after the state is an event' => sub {
    for my $position (qw(event id)) {
        my $hub        = EventSource::Hub->new(position => $position, position_event => 'here');
        my $subscriber = Testing::Subscriber->open($hub, 'stock', {start => 'state'});
        $subscriber->client->read_until(qr{\nid: [^\n]+\n\n});
        like $subscriber->client->text, qr{\A${WORD}event: here\ndata: ?\nid: [^\n]+-0\n\n\z},
            "position => '$position'";
    }
    my $retries    = EventSource::Hub->new;
    my $subscriber = Testing::Subscriber->open($retries, 'stock', {start => 'state', retry => 1000});
    $subscriber->client->read_until(qr/\nid: [^\n]+\n\n/);
    like $subscriber->client->text, qr{\A${WORD}retry: [0-9]+\nevent: position\ndata: ?\nid: [^\n]+\n\n\z},
        'a reconnection time comes without a position';
    my $hub = EventSource::Hub->new(position => 'none');
    receives $hub, 'stock', {}, [], "position => 'none': none";
};

subtest 'a key is forgotten' => sub {
    my $hub = EventSource::Hub->new;
    my $e   = $hub->epoch;
    $hub->publish(stock => {key => $_, data => $_, retain => 1}) for qw(a b c);
    my $subscriber = Testing::Subscriber->open($hub, 'stock');
    is $hub->forget('stock', 'a'), "$e-4", 'forget returns the id of its event';
    $hub->forget(stock => 'b', {event => 'gone', json => ['b']});
    $hub->forget(stock => 'unknown', {event => undef, data => 'x'}, {wait => 1});
    $hub->publish(stock => 'end');
    is_deeply [map { text_of($_) } grep { defined $_->{data} } $subscriber->blocks_at(4)],
        ['forget a', 'gone ["b"]', 'x', 'end'], 'streams receive it as the event that the application chooses';
    receives $hub, 'stock', {}, ['c', 'position'], 'the state has it no longer';
    is $hub->stats->{state}{keys}, 1, 'the statistics, too';
    ok !eval { $hub->forget(stock => 'a', 'gone'); 1 }, 'an event that is not a hash is refused';
    like $@, qr/forget takes the event as a hash.* at [^\n]*state\.t line/, "at the caller";
};

subtest 'a client that comes back' => sub {
    my $hub = EventSource::Hub->new(keep_history => {events => 2});
    my $e   = $hub->epoch;
    $hub->publish(stock => {key => $_, data => $_, retain => 1})
        for qw(a b c a d);    # 1 to 5, of which 4 and 5 are in the history
    my @state = (qw(b c a d), 'position');
    receives $hub, 'stock', id_of($e, 5), ['position'], 'has missed nothing';
    receives $hub, 'stock', id_of($e, 3), [qw(a d), 'position'],
        'has missed what the history has, perhaps of the state: the position comes after it';
    my $returning = Testing::Subscriber->open($hub, 'stock', {start => 'state', %{id_of($e, 4)}});
    ok $returning->client->read_until(qr/^id: \Q$e\E-5\n\nevent: position\ndata: ?\nid: \Q$e\E-5\n\n/m),
        'it is the position there';
    receives $hub, 'stock', id_of($e, 2), ['gap {"reason":"evicted"}', @state],
        'has missed evicted events: a gap, then the state';
    receives $hub, 'stock', id_of('0123abcd', 2), ['gap {"reason":"unknown"}', @state],
        'has an unknown id: a gap, then the state';
    receives $hub, 'stock', {start => 'latest', %{id_of($e, 2)}}, ['position', 'gap {"reason":"evicted"}', qw(a d)],
        'a stream that does not start with the state receives the history';
};

subtest 'a state whose events have ids of the application, published again in another order' => sub {
    my $hub        = EventSource::Hub->new;
    my $put        = sub { $_[0]->publish(stock => {key => $_[1], id => "own $_[1]", data => $_[1], retain => 1}) };
    my $subscriber = Testing::Subscriber->open($hub, 'stock', {start => 'state'});
    $put->($hub, 'a');
    ok $subscriber->client->read_until(qr/^id: own a\n\nid: .*\n\n/m), 'the id of the hub follows';
    my $id = $subscriber->last_id;
    $put->($hub, 'b');
    receives $hub, 'stock', {last_event_id => $id}, ['b', 'position', 'position'],
        'a client resumes; each event has its position';
    my $anew = EventSource::Hub->new;    # the history was lost
    $put->($anew, $_) for 'b', 'a';
    my @all = ('gap {"reason":"unknown"}', map { ($_, 'position') } 'b', 'a');
    receives $anew, 'stock', {last_event_id => $_}, [@all, 'position'],
        "a client that comes back after $_ receives a gap, then the state"
        for $id, 'own a';
    $anew->publish(stock => {id => $id, data => 'posted'});
    receives $anew, 'stock', {last_event_id => $id}, [@all, 'position'],
        'also after somebody has published an event with that id';
};

subtest 'what does not fit is refused' => sub {
    my $hub = EventSource::Hub->new(keep_state => {keys => 2, bytes => 200}, keep_total_state => {keys => 3});
    my $try = sub {
        my ($channel, $key, $bytes) = @_;
        return eval { $hub->publish($channel => {key => $key, data => 'x' x $bytes, retain => 1}); 1 }
            ? ''
            : $@->code . " $@";
    };
    is $try->('a', 'k', 10), '', 'a key that fits';
    is $try->('a', 'l', 10), '', 'another';
    my $published = $hub->stats->{published};
    like $try->('a', 'm', 10),
        qr/\Afull .*retains at most 2 keys and 200 bytes \(keep_state\).* at [^\n]*state\.t line/,
        'too many keys of a channel';
    is $hub->stats->{published}, $published, 'nothing is published then';
    is $try->('a', 'k', 20),     '',         'a key that is there already is replaced';
    like $try->('a', 'k', 200), qr/\Afull .*\(keep_state\)/, 'too many bytes of a channel';
    is $try->('b', 'k', 10), '', 'a key of another channel';
    like $try->('b', 'l', 10), qr/\Afull .*at most 3 keys and 67108864 bytes \(keep_total_state\)/,
        'too many keys of the hub';
    $hub->forget(a => 'k');
    is $try->('b', 'l', 10), '', 'a forgotten key makes room';
    ok eval { $hub->publish(b => {key => 'z', data => 'x'}); 1 }, 'what is not retained always fits';
};

done_testing;
