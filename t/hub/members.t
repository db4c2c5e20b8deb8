# Members: who is behind the streams of a hub, and the wills of streams.

use lib 't/lib';
use Testing qw(native);
use EventSource::Hub;
use Test::EventSource;
use Testing::Fork qw(in_child);
use Testing::NamedHubs;
use Testing::Subscriber qw(blocks);

my $ROOM = 'room/7/people';

# A page: a stream that begins with the state of the room, and the events that its client has received, each as a text.
sub page {
    my ($hub, %option) = @_;
    return Testing::Subscriber->open($hub, $ROOM, {start => 'state', %option});
}

sub told {
    my ($page, $count) = @_;
    my @blocks = grep { defined $_->{data} } $page->blocks_at($count);
    return [map { "$_->{event} $_->{data}" } @blocks];
}

# A stream of a member, which reads another channel.
sub stream_of {
    my ($hub, $id, %member) = @_;
    return Testing::Subscriber->open($hub, 'news', {member => {id => $id, channel => $ROOM, %member}});
}

sub ids {
    return join ' ', map { $_->{id} } $_[0]->members($ROOM);
}

# Waits until the room has these members.
sub has {
    my ($hub, $ids, $name) = @_;
    wait_until(10, sub { ids($hub) eq $ids });
    return is ids($hub), $ids, $name;
}

# Waits until the only member of the room has that many streams.
sub has_streams {
    my ($hub, $count, $name) = @_;
    my $streams = sub {
        join ' ', map { $_->{streams} } $hub->members($ROOM);
    };
    wait_until(10, sub { $streams->() eq $count });
    return is $streams->(), $count, $name;
}

subtest 'the first stream of a member joins, and the last one leaves' => sub {
    my $hub     = EventSource::Hub->new;
    my $page    = page($hub);
    my $started = time;
    my $first   = stream_of($hub, 'ann', json => {name => 'Ann'}, leave_after => 0);
    is_deeply told($page, 1), ['join {"id":"ann","name":"Ann"}'], 'a join with the data';
    my $second = stream_of($hub, 'ann', json => {name => 'Ann'}, leave_after => 0);
    my ($member) = $hub->members($ROOM);
    ok $member->{since} >= $started - 1 && $member->{since} <= time + 1, 'since when';
    delete $member->{since};
    is_deeply $member, {id => 'ann', json => {name => 'Ann'}, streams => 2}, 'the list counts its streams';
    is $hub->members_count($ROOM),   1, 'the number of members';
    is $hub->stats->{members}{here}, 1, 'the statistics, too';
    $first->conn->close;
    wait_until(10, sub { ($hub->members($ROOM))[0]{streams} == 1 });
    $second->conn->close;
    is_deeply told($page, 2), ['join {"id":"ann","name":"Ann"}', 'leave {"id":"ann"}'], 'one join, one leave';
    $first->client->read_all;
    is_deeply told($first, 0),        [], 'the stream of another channel is told nothing';
    is_deeply [$hub->members($ROOM)], [], 'nobody is left';
    is_deeply told(page($hub), 0),    [], 'in the state, too';
};

subtest 'a reload is no leave' => sub {
    my $hub   = EventSource::Hub->new;
    my $page  = page($hub);
    my $first = stream_of($hub, 'ann', leave_after => 1);
    has_streams($hub, 1, 'the member is here');
    $first->conn->close;
    has_streams($hub, 0, 'it lingers');
    my $second = stream_of($hub, 'ann', leave_after => 1);
    has_streams($hub, 1, 'the member is here still');
    my $bob = stream_of($hub, 'bob', leave_after => 1);    # leaves after ann would
    has($hub, 'ann bob', 'another one is here');
    $bob->conn->close;
    my @all = ('join {"id":"ann"}', 'join {"id":"bob"}', 'leave {"id":"bob"}');
    is_deeply told($page, 3), \@all, 'and nobody was told';
    is ids($hub), 'ann', 'the list has it';
    $second->client->leave;
};

subtest 'the newest stream says how long its member stays' => sub {
    my $hub     = EventSource::Hub->new;
    my $page    = page($hub);
    my $desktop = stream_of($hub, 'ann', leave_after => 600);
    has_streams($hub, 1, 'the desktop page');
    my $mobile = stream_of($hub, 'ann', leave_after => 0);
    has_streams($hub, 2, 'the mobile page');
    $desktop->conn->close;
    has_streams($hub, 1, 'the desktop page is closed');
    $mobile->conn->close;
    is_deeply told($page, 2), ['join {"id":"ann"}', 'leave {"id":"ann"}'], 'it leaves at once';
};

subtest 'the state is who is here' => sub {
    my $hub     = EventSource::Hub->new;
    my @streams = map { stream_of($hub, $_) } qw(cid ann bob);
    is ids($hub), 'ann bob cid', 'the list is in the order of ids';
    is_deeply told(page($hub), 3), [map { qq(join {"id":"$_"}) } qw(cid ann bob)],
        'the state in the order of their joins';
    $_->conn->close for @streams;
};

subtest 'a change' => sub {
    my $hub    = EventSource::Hub->new;
    my $page   = page($hub);
    my $stream = stream_of($hub, 'ann', json => {name => 'Ann'});
    ok $stream->conn->update_member({json => {name => 'Ann', typing => 1}}), 'the connection knows its member';
    ok $hub->update_member($ROOM,  'ann', {data => 'text', event => 'typing'}), 'from anywhere';
    ok $hub->update_member($ROOM,  'ann', {data => 'text'}),                    'the same data';
    ok !$hub->update_member($ROOM, 'bob', {data => 'x'}),                       'somebody who is not here';
    my $other = stream_of($hub, 'ann', json => {name => 'Anna'});
    is_deeply told($page, 4),
        [
        'join {"id":"ann","name":"Ann"}',
        'update {"id":"ann","name":"Ann","typing":1}',
        'typing text',
        'update {"id":"ann","name":"Anna"}'
        ],
        'is told once; a stream with other data is one';
    is_deeply [map { $_->{json} } $hub->members($ROOM)], [{name => 'Anna'}],                    'the list has it';
    is_deeply told(page($hub), 1),                       ['update {"id":"ann","name":"Anna"}'], 'the state, too';
    $_->conn->close for $stream, $other;
};

subtest 'data that is not Unicode' => sub {
    my $hub = EventSource::Hub->new;
    my ($given, $told) = ("a\x{D800}b", "a\x{FFFD}b");
    my @open = (stream_of($hub, 'ann', data => $given), stream_of($hub, 'ben', json => {name => $given}));
    has $hub, 'ann ben', 'is that of a member';
    is_deeply [map { $_->{data} // $_->{json}{name} } $hub->members($ROOM)], [$told, $told],
        'with U+FFFD, as in events';
    ok $hub->update_member($ROOM, 'ann', {data => "$given!"}), 'a change is made';
    my ($ann) = $hub->members($ROOM);
    is $ann->{data}, "$told!", 'in the same form';
};

subtest 'the form of the events can be chosen' => sub {
    my $hub    = EventSource::Hub->new;
    my $page   = page($hub);
    my $stream = stream_of $hub, "\x{e9}\x{20ac}",
        data        => 'a text',
        leave_after => 0,
        join        => {event => 'here'},
        leave       => {event => 'gone', json => ['x']},
        update      => {data  => 'new'};
    my $other = stream_of($hub, "\x{e9}\x{20ac}", data => 'another', update => {data => 'new'}, leave_after => 0);
    is(($hub->members($ROOM))[0]{data}, 'another',        'data as a text');
    is(($hub->members($ROOM))[0]{id},   "\x{e9}\x{20ac}", 'an id of any characters');
    $_->conn->close for $stream, $other;
    is_deeply told($page, 3), ['here a text', 'update new', qq(leave {"id":"\xc3\xa9\xe2\x82\xac"})],
        'types and data; the newest stream says how its member leaves';
};

subtest 'a room that is only counted' => sub {
    my $hub     = EventSource::Hub->new;
    my $page    = page($hub);
    my @streams = map { stream_of($hub, $_, join => 'count', leave_after => 0) } qw(a b c);
    is_deeply told($page,      2), ['count 1', 'count 3'], 'the number, at most once a second';
    is_deeply told(page($hub), 1), ['count 3'],            'it is retained';
    is ids($hub), 'a b c', 'the list has the members';
    $_->conn->close for @streams;
    is_deeply told($page, 3), ['count 1', 'count 3', 'count 0'], 'and when all have left';
    is $hub->stats->{state}{keys}, 0, 'nothing is retained of an empty room';
};

subtest 'several members, and none' => sub {
    my $hub    = EventSource::Hub->new;
    my $stream = stream_of($hub, 'ann', leave_after => 0);
    $hub->subscribe($stream->conn, 'b', {member => {id => 'ann', channel => 'other', leave_after => 0}});
    is $hub->members_count($ROOM) + $hub->members_count('other'), 2, 'a stream can have a member in two rooms';
    my $none = Testing::Subscriber->open($hub, 'news', {member => undef});
    is $hub->stats->{members}{here}, 2, 'undef is nobody';
    $stream->client->leave;
    wait_until(10, sub { !$hub->stats->{members}{here} });
    is $hub->stats->{members}{here}, 0, 'it leaves both';
};

subtest 'too many members' => sub {
    my $hub = EventSource::Hub->new(max_members => 1, keep_state => {keys => 2});
    my @warnings;
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    my @streams = map { stream_of($hub, $_) } qw(ann bob);
    has $hub, 'ann', 'the second one is no member';
    ok $streams[1]->conn->is_open, 'its stream is open';
    is $hub->stats->{members}{refused}, 1, 'which is counted';
    push @streams, map { stream_of($hub, $_) } qw(cid dan);
    is scalar(@warnings), Testing::NamedHubs->is_on ? 0 : 1, 'and said once, by the process that has the hub';
    $hub->publish(full => {data => 'x', retain => 1, key => $_}) for qw(k l);
    $hub->subscribe($streams[0]->conn, 'x', {member => {id => 'eve', channel => 'full'}});
    is $hub->members_count('full'),     0, 'a full state has no member either';
    is $hub->stats->{members}{refused}, 4, 'which is counted, too';
    $_->conn->close for @streams;
};

subtest 'what is retained of a member' => sub {
    my $hub    = EventSource::Hub->new;
    my $stream = stream_of($hub, 'ann', leave_after => 0);
    my $event  = {key => 'ann', data => 'x'};
    has $hub, 'ann', 'a member';
    for my $call ([publish => {%$event, retain => 1}], [forget => 'ann']) {
        my ($method, @arguments) = @$call;
        ok !eval { $hub->$method($ROOM, @arguments); 1 }, "$method changes nothing of it";
        is join(' ', $@->code, $@->field), 'invalid key', 'the kind of mistake';
        like "$@", qr/change it with update_member\(\) at \Q${\__FILE__}\E line/,
            'the remedy, and the line of the mistake';
    }
    ok $hub->publish($ROOM, $event), 'an event of the same key that is not retained';
    $stream->conn->close;
    has $hub, '', 'it has gone';
    ok $hub->forget($ROOM, 'ann'), 'the key is free';
};

# A hub without a store, and one with a file if hubs have a process.
sub hubs {
    return ['without a store', EventSource::Hub->new] if !Testing::NamedHubs->is_on;
    my $folder = new_folder;
    my $stored = EventSource::Hub->new(name => 'f', socket => "$folder/hub.sock", store => {file => "$folder/db"});
    return (['without a store', EventSource::Hub->new], ['with a file', $stored, $folder]);
}

for my $case (hubs()) {
    my ($kind, $hub) = @$case;
    subtest "a will with the key of a member, $kind" => sub {
        my $page = page($hub);
        my $ann  = stream_of($hub, 'ann', leave_after => 0);
        has $hub, 'ann', 'a member';
        my $other = Testing::Subscriber->open($hub, 'news',
            {will => [$ROOM => {event => 'will', data => 'x', key => 'ann', retain => 1}]});
        ok $other->position, 'its stream has begun';
        $other->client->leave;
        is_deeply told($page,      2), ['join {"id":"ann"}', 'will x'], 'it is sent';
        is_deeply told(page($hub), 1), ['join {"id":"ann"}'],           'what is retained of the member stays';
        $ann->conn->close;
        is_deeply told($page, 3), ['join {"id":"ann"}', 'will x', 'leave {"id":"ann"}'], 'until it leaves';
        is $hub->stats->{state}{keys}, 0, 'nothing is retained of an empty room';
    };

    subtest "a room that is only counted, and events without a key, $kind" => sub {
        my $page    = page($hub);
        my $counted = stream_of($hub, 'a', join => 'count', leave_after => 0);
        is_deeply told($page, 1), ['count 1'], 'the number';
        ok $hub->publish($ROOM, {event => 'mine', data => 'x', retain => 1}), 'an event without a key';
        is_deeply told(page($hub), 2), ['count 1', 'mine x'], 'both are retained';
        is_deeply [map { "$_->{event} " . exists $_->{key} } $hub->state($ROOM)], ['count ', 'mine '],
            'state has both, too';
        ok $hub->forget($ROOM, ''), 'the event is forgotten';
        is_deeply told(page($hub), 1), ['count 1'], 'the number stays';
        ok $hub->publish($ROOM, {event => 'other', data => 'y', key => 'k', retain => 1}), 'an event with a key';
        ok $hub->forget($ROOM, 'k'),                                                       'which is forgotten';
        my $other =
            Testing::Subscriber->open($hub, 'news', {will => [$ROOM => {event => 'will', data => 'x', retain => 1}]});
        ok $other->position, 'its stream has begun';
        $other->client->leave;
        is_deeply told(page($hub), 2), ['count 1', 'will x'], 'so is a will';
        $counted->conn->close;
        wait_until(10, sub { $hub->stats->{state}{keys} == 1 });
        my $late = stream_of($hub, 'b', join => 'count', leave_after => 0);
        is_deeply told(page($hub), 2), ['will x', 'count 1'], 'an event that is there before is no obstacle';
    };
}

subtest 'mistakes' => sub {
    my $hub        = EventSource::Hub->new;
    my $subscriber = Testing::Subscriber->open($hub, 'news');
    my $conn       = $subscriber->conn;
    my %good       = (id => 'ann', channel => $ROOM);

 # A hub process that begins, or does not answer in 50 ms, refuses some of these later. Then the next stream is refused.
    my $refuses = sub {
        my ($of, $option, $message) = @_;
        my $subscribe = sub { $of->subscribe(Testing::Subscriber->open($of, 'news')->conn, 'x', $option); return 1 };
        ok wait_until(
            $DEADLINE,
            sub {
                !eval { $subscribe->() }
            }
            ),
            "it refuses what has: $message";
        like $@, qr/$message.* at [^\n]*members\.t line/s, 'the message, at the caller';
    };
    for my $case (
        [[channel     => undef],                  qr/channel must be the name of a channel/],
        [[id          => undef],                  qr/the id of a member must not be empty/],
        [[id          => ''],                     qr/the id of a member must not be empty/],
        [[id          => []],                     qr/the id of a member must be a string/],
        [[id          => 'x' x 1025],             qr/the id of a member must have at most 1024 bytes/],
        [[channel     => $hub->pattern('*')],     qr/channel must be the name of a channel/],
        [[leave_after => -1],                     qr/leave_after must be/],
        [[leave_after => 86_401],                 qr/leave_after must be at most 86400 seconds/],
        [[json        => []],                     qr/json of a member must be a hash/],
        [[json        => {}, data => 'x'],        qr/data and json exclude each other/],
        [[json        => {x => \*STDIN}],         qr/json: /],
        [[join        => 'counted'],              qr/join must be a hash of fields.*or 'count'/],
        [[id          => "ann\x{D800}"],          qr/the id of a member must be Unicode/],
        [[channel     => "\x{110000}"],           qr/a channel's name must be Unicode/],
        [[leave       => {event => "a\nb"}],      qr/event must not contain a line break/],
        [[leave       => {id => 1}],              qr/unknown field 'id' of leave/],
        [[joins       => {}],                     qr/unknown field 'joins' of member; did you mean join/],
        [[join        => {event => 'gap'}],       qr/must not be the name of the hub's event for gaps/],
        [[leave       => {data => 'x' x 65_536}], qr/member or a will must have at most 65536 bytes/],
        [[data        => 'x' x 65_537, map { $_ => {data => ''} } qw(join update)], qr/must have at most 65536 bytes/],
    ) {
        my ($wrong, $message) = @$case;
        $refuses->($hub, {member => {%good, @$wrong}}, $message);
    }
    for my $case (
        ['x',                                     qr/will must be a channel and an event/],
        [['a'],                                   qr/will must be a channel and an event/],
        [['a', {event => 'x', id => 1}],          qr/unknown field 'id' of will/],
        [['a', {retry => 'x', data => 'x'}],      qr/retry/],
        [["\x{D800}", 'x'],                       qr/a channel's name must be Unicode/],
        [['a', {key => "\x{D800}", data => 'x'}], qr/key must be Unicode/],
        [['a', 'x' x 65_536],                     qr/member or a will must have at most 65536 bytes/],
    ) {
        my ($will, $message) = @$case;
        $refuses->($hub, {will => $will}, $message);
    }
    $refuses->($hub, {member => 'ann'}, qr/member must be a hash/);
    ok !eval { $conn->update_member({data => 'x'}); 1 }, 'a connection without a member';
    is $@->code, 'state', 'throws state';
    ok !eval { $hub->update_member($ROOM, 'ann', 'x'); 1 }, 'a change that is not a hash';
    like $@, qr/update_member takes the new data as a hash.* at [^\n]*members\.t line/, 'throws at the caller';
    ok !eval { $hub->update_member($ROOM, 'ann', {data => 'x' x 65_537}); 1 }, 'a change that is too large';
    like $@, qr/must have at most 65536 bytes/, 'is refused';

    for my $name ("\x{D800}", "\x{110000}") {
        ok !eval { $hub->update_member($ROOM, $name, {data => 'x'}); 1 }, 'a change of an id that is not Unicode';
        like $@, qr/the id of a member must be Unicode.* at [^\n]*members\.t line/, 'throws at the caller';
    }
    is ids($hub), '', 'nobody has joined';
    my $counts_gaps = EventSource::Hub->new(gap_event => 'count');
    my $counted     = {%good, join => 'count'};
    $refuses->(
        $counts_gaps,
        {member => $counted},
        qr/members cannot be counted: 'count' is the name of the hub's event for gaps/
    );
};

subtest 'the callback of to_app' => sub {
    my $hub   = EventSource::Hub->new;
    my $given = {id => 'ann', channel => $ROOM};
    my $app   = $hub->to_app(
        channels => sub { return $ROOM },
        member   => sub { return ref $given eq 'ARRAY' ? @$given : $given },
        start    => 'state'
    );
    my $es    = Test::EventSource->new(app => $app);
    my $first = $es->get('/');
    is $first->next_event->{event}, 'join', 'its result is the member, who reads of itself';
    $given = undef;
    my $second = $es->get('/');
    is $second->next_event->{event}, 'join', 'undef is nobody';
    $given = 'ann';
    is $es->get('/')->status, 500, 'anything else is an exception of the request';
    $given = [map { {id => $_, channel => $ROOM} } 'ann', 'bob'];
    is $es->get('/')->status, 500, 'so are two members, of which one would be ignored';
    ok !eval {
        $hub->to_app(channels => sub { }, member => {id => 'ann'});
        1;
    }, 'a hash for all streams';
    like $@, qr/member must be a code reference.* at [^\n]*members\.t line/, 'is none';
};

subtest 'a named hub' => sub {
    plan skip_all => 'these hubs have no name' if !Testing::NamedHubs->is_on;
    my $folder  = new_folder;
    my @name    = (name => 'shop', socket => "$folder/hub.sock");
    my $hub     = EventSource::Hub->new(@name);
    my @streams = (stream_of($hub, 'ann'), stream_of($hub, 'bob', channel => 'lobby', join => 'count'));
    has $hub, 'ann', 'somebody is here';
    my $next = EventSource::Hub->new(@name, opaque_ids => 1);    # it begins anew
    $next->publish(news => 'x');
    is $next->stats->{state}{keys}, 0, 'a hub in the place of another has none of its members';
    ok $_->client->read_all, 'their streams have ended' for @streams;
    is_deeply [$next->members($ROOM)], [], 'nobody is a ghost';
};

subtest 'a room that is only counted, in a hub with a file that shows channels' => sub {
    plan skip_all => 'these hubs have no name' if !Testing::NamedHubs->is_on;
    my $folder  = new_folder;
    my %place   = (name => 'f', socket => "$folder/hub.sock", store => {file => "$folder/db"});
    my $hub     = EventSource::Hub->new(%place, show_channel => 'data');
    my $count   = sub { qq(count {"channel":"$ROOM","data":$_[0],"key":null}) };
    my $page    = page($hub);
    my $pattern = Testing::Subscriber->open($hub, $hub->pattern('*/7/people'), {start => 'state'});
    my %counted = (join => 'count', leave_after => 0, json => {x => 1});
    my $first   = stream_of($hub, 'a', %counted);
    is_deeply told($page, 1), [$count->(1)], 'the number';
    my @streams = map { stream_of($hub, $_, %counted) } qw(b c);
    has $hub, 'a b c', 'the list has the members';
    ok $hub->update_member($ROOM, 'a', {json => {x => 2}}), 'which can change';
    is(($hub->members($ROOM))[0]{json}{x}, 2, 'in the list');
    my @numbers = @{told($page, 2)};
    is $numbers[1], $count->(3), 'the number again, a second later';
    is_deeply told(page($hub), 1), [$count->(3)], 'it is retained';
    is $hub->stats->{state}{keys}, 1, 'alone';
    $_->conn->close for $first, @streams;
    is_deeply told($page, 3), [map { $count->($_) } 1, 3, 0], 'and when all have left';
    is $hub->stats->{state}{keys}, 0, 'nothing is retained of an empty room';
    is_deeply told($pattern, 3), [map { $count->($_) } 1, 3, 0], 'a pattern is told nothing else';
};

subtest 'a drain, and a fork' => sub {
    my $hub    = EventSource::Hub->new;
    my $stream = stream_of($hub, 'ann', leave_after => 0);
    has $hub, 'ann', 'the parent has a member';
    my $count = in_child(sub { return $hub->members_count($ROOM) });
    is $count->(), Testing::NamedHubs->is_on ? 1 : 0, 'a child has nobody, unless it has the same hub';
    my $own = in_child sub {
        my $of_child = stream_of($hub, 'kid', leave_after => 0);
        $stream->conn->close;    # nothing happens: it is the parent's
        return ids($hub);
    };
    is $own->(), Testing::NamedHubs->is_on ? 'ann kid' : 'kid',
        'a member of a child is here with the stream of the child';
    has $hub, 'ann', 'and leaves with it; the parent has its own';
    $hub->drain(0);
    has $hub, '', 'whose stream was drained is not here';
};

subtest 'a will' => sub {
    my $hub  = EventSource::Hub->new;
    my $page = Testing::Subscriber->open($hub, 'wills');
    my $open = sub {
        my $number = shift;
        return Testing::Subscriber->open($hub, 'news', {will => ['wills', {event => 'will', json => [$number]}]});
    };
    my ($client, $closed, $finished, $later) = map { $open->($_) } 1 .. 4;
    $hub->subscribe($later->conn, 'x', {will => [wills => 'the later will']});
    $closed->conn->close;
    $finished->conn->finish;
    wait_until(10, sub { $hub->stats->{streams} <= 3 });
    $client->client->leave;
    my @data = $page->data(1);
    is_deeply \@data, ['[1]'], 'is published when the client leaves, not when the application ends the stream';
    my $quick = $open->(5);
    $quick->conn->push({event => 'finish', data => 'x', id => $quick->conn->finished_id});
    $quick->data(1);
    $quick->client->leave;    # before the close of finish has come
    $later->client->leave;
    is_deeply [$page->data(2)], ['[1]', 'the later will'],
        'a later will replaces an earlier one, and a client that leaves at its finish has none';
    my $retained =
        Testing::Subscriber->open($hub, 'news', {will => [wills => {data => 'off', key => 'k', retain => 1}]});
    $retained->position;      # its subscription has taken effect
    $retained->client->leave;
    is_deeply [$page->data(3)], ['[1]', 'the later will', 'off'], 'it may be retained';
    is $hub->stats->{state}{keys}, 1, 'and then it is state';
};

done_testing;
