# show_channel: what a page learns of the channel and the key from the events themselves, whoever publishes them.

use lib 't/lib';
use Testing qw(native);
use EventSource::Hub;
use Testing::CommandLine;
use Testing::Errors qw(error_of);
use Testing::Subscriber;

my $ROOM = 'room/7/people';

# The events that a stream has received when it has so many of them: type and data in one text each.
sub seen {
    my ($subscriber, $count) = @_;
    return [map { join ' ', $_->{event} // (), $_->{data} } grep { defined $_->{data} } $subscriber->blocks_at($count)];
}

subtest 'the key of events that change the state' => sub {
    my $hub  = EventSource::Hub->new(show_channel => 'data');
    my $page = Testing::Subscriber->open($hub, 'stock');
    my @rows = (
        [{key => 7, retain => 1, json => {left => 3}},    '{"channel":"stock","data":{"left":3},"key":"7"}'],
        [{retain => 1, data => 'x'},                      '{"channel":"stock","data":"x","key":""}'],
        [{key => '', retain => 1, data => 'y'},           '{"channel":"stock","data":"y","key":""}'],
        [{key => "\x{263A}", retain => 1, json => undef}, qq({"channel":"stock","data":null,"key":"\xE2\x98\xBA"})],
        [{key => 7, data => 'passes'},                    '{"channel":"stock","data":"passes"}'],
        [{key => 7, retain => 0, data => 'passes'},       '{"channel":"stock","data":"passes"}'],
        ['passes',                                        '{"channel":"stock","data":"passes"}'],
    );
    $hub->publish(stock => {data => [], event => 'an array without elements is no data'});
    $hub->publish(stock => $_->[0]) for @rows;
    is_deeply seen($page, 0 + @rows), [map { $_->[1] } @rows], 'shown for those that are retained, and for no others';
    is_deeply seen(Testing::Subscriber->open($hub, 'stock', {start => 'state'}), 3), [map { $_->[1] } @rows[0, 2, 3]],
        'a page that begins with the state is sent the same';
};

subtest 'what forgets a key' => sub {
    my $hub  = EventSource::Hub->new(show_channel => 'data');
    my $page = Testing::Subscriber->open($hub, 'stock');
    $hub->publish(stock => {key => $_, retain => 1, data => 'x'}) for 1 .. 4, '';
    $hub->forget('stock', 1);
    $hub->forget(stock => 2, {event => 'sold', json => {to => 'ann'}});
    $hub->forget(stock => 3, {data  => undef});
    $hub->forget(stock => 4, {data  => 'gone'});
    $hub->forget('stock');
    my @told = @{seen($page, 10)}[5 .. 9];
    is_deeply \@told,
        [
        'forget {"channel":"stock","forget":true,"key":"1"}',
        'sold {"channel":"stock","data":{"to":"ann"},"forget":true,"key":"2"}',
        'forget {"channel":"stock","forget":true,"key":"3"}',
        'forget {"channel":"stock","data":"gone","forget":true,"key":"4"}',
        'forget {"channel":"stock","forget":true,"key":""}',
        ],
        'the key, and data only if the application gives some';
    my $plain = EventSource::Hub->new(show_channel => 'event');
    $page = Testing::Subscriber->open($plain, 'stock');
    $plain->forget('stock', 1);
    is_deeply seen($page, 1), ['forget 1'],
        'where the channel is the type, the key is the data as without show_channel';
};

subtest 'members' => sub {
    my $hub  = EventSource::Hub->new(show_channel => 'data');
    my $page = Testing::Subscriber->open($hub, $ROOM, {start => 'state'});
    my $open = sub {
        return Testing::Subscriber->open($hub, 'news',
            {member => {id => shift, channel => $ROOM, leave_after => 0, @_}});
    };
    my $ann = $open->('ann', json => {name => 'Ann'}, leave => {event => 'left', data => 'bye'});
    my $bob = $open->('bob', data => 'Bob');
    $page->blocks_at(2);
    $hub->update_member($ROOM, 'ann', {json => {name => 'Ann', typing => 1}});
    $page->blocks_at(3);
    $ann->conn->close;
    $page->blocks_at(4);
    $bob->conn->close;
    is_deeply seen($page, 5),
        [
        'join {"channel":"room/7/people","data":{"id":"ann","name":"Ann"},"key":"ann"}',
        'join {"channel":"room/7/people","data":"Bob","key":"bob"}',
        'update {"channel":"room/7/people","data":{"id":"ann","name":"Ann","typing":1},"key":"ann"}',
        'left {"channel":"room/7/people","data":"bye","forget":true,"key":"ann"}',
        'leave {"channel":"room/7/people","data":{"id":"bob"},"forget":true,"key":"bob"}',
        ],
        'the id is the key of join, update and leave';
};

subtest 'the list of members is that of the application' => sub {
    my $hub = EventSource::Hub->new(show_channel => 'data');
    my $page =
        Testing::Subscriber->open($hub, $ROOM, {member => {id => 'ann', channel => $ROOM, json => {name => 'Ann'}}});
    $page->blocks_at(1);
    is_deeply(($hub->members($ROOM))[0]{json}, {name => 'Ann'}, 'without the channel and the key');
};

subtest 'wills' => sub {
    my %said = (
        data  => ['{"channel":"news","data":"gone"}', 'lost {"channel":"news","data":{"at":3},"key":"k"}'],
        event => ['news gone',                        'lost {"at":3}'],
    );
    for my $way (sort keys %said) {
        my $hub   = EventSource::Hub->new(show_channel => $way);
        my $page  = Testing::Subscriber->open($hub, 'news');
        my @wills = ('gone', {event => 'lost', key => 'k', retain => 1, json => {at => 3}});
        for my $at (0 .. $#wills) {
            my $stream = Testing::Subscriber->open($hub, 'other', {will => ['news', $wills[$at]]});
            $stream->position;    # it has begun
            $stream->client->leave;
            is_deeply seen($page, $at + 1)->[$at], $said{$way}[$at], "$way: a will has the form of what is published";
        }
    }
};

# A named hub that shows channels in data, with a retained event, and a page of it.
sub with_orders {
    my $shell = shift;
    my %place = (name => 'dash', socket => $shell->folder . '/dash.sock', grace => 60, idle_exit => 60);
    my $hub   = EventSource::Hub->new(%place, show_channel => 'data');
    $hub->publish(figures => {key => 'orders', json => 1, retain => 1});
    return ($hub, Testing::Subscriber->open($hub, 'figures', {start => 'state'}), %place);
}

sub state_of {
    my $hub = shift;
    return seen(Testing::Subscriber->open($hub, 'figures', {start => 'state'}), 1);
}

SKIP: {
    skip 'needs named hubs', 1 if !eval { EventSource::Hub::Process->program };
    my $shell = Testing::CommandLine->new;
    my ($hub, $page, %place) = with_orders($shell);
    my $is_shown = sub {
        my $json = shift;
        return [qq({"channel":"figures","data":$json,"key":"orders"})];
    };

    subtest 'an object that names no way, of a hub that has one' => sub {
        my $job = EventSource::Hub->new(%place);
        my %new = (key => 'orders', json => 99, retain => 1);
        is error_of(sub { $job->publish(figures => {%new}) }), 'refused show_channel', 'publishes nothing';
        like $@, qr/differs .* show_channel => 'data'.* at \Q$0\E line \d+[.]$/, 'and is told the remedy and the line';
        is error_of(sub { $job->forget('figures', 'orders') }), 'refused show_channel', 'forgets nothing';
        is error_of(sub { $job->update_member('figures', 'ann', {data => 'x'}) }), 'refused show_channel',
            'changes no member';
        is_deeply state_of($job), $is_shown->(1), 'a page that it subscribes is sent the state, which is as before';
    };

    subtest 'objects that name another way' => sub {
        my @other = (%place, show_channel => 'event');
        is error_of(sub { EventSource::Hub->new(@other)->publish(figures => 'x') }), 'refused show_channel',
            'an object is refused';
        like $@, qr/show_channel differs from that of the hub process/, 'and told why';
        my @connect = (name => 'dash', socket => $place{socket});
        is error_of(sub { EventSource::Hub::Process->connect(@connect, show_channel => 'event') }),
            'refused show_channel', 'so is a connection';
        is error_of(sub { EventSource::Hub->new(%place, show_channel => 'data')->publish(other => 'x') }),
            'no exception', 'an object that names the same is not';
    };

    subtest 'connections and commands take the way of the hub' => sub {
        my $process = EventSource::Hub::Process->connect(name => 'dash', socket => $place{socket});
        is $process->show_channel, 'data', 'a connection knows it';
        $process->publish(figures => {key => 'orders', json => 2, retain => 1});
        is_deeply state_of($hub), $is_shown->(2), 'and publishes so';
        my @command = ('publish', '--hub', 'dash', '--socket', $place{socket});
        my $done    = $shell->run(@command, qw(--retain --key orders --json figures 3));
        is $done->{code}, 0, 'a command is told nothing';
        is_deeply state_of($hub), $is_shown->(3), 'and publishes so, too';
        $done = $shell->run(@command, qw(--show-channel event figures 4));
        like $done->{err}, qr/show_channel differs from that of the hub process/, 'another way is refused';
        is_deeply state_of($hub), $is_shown->(3), 'and changes nothing';
    };

    subtest 'a hub that nobody has given a way' => sub {
        my $socket = $shell->folder . '/bare.sock';
        my @bare   = (%place, name => 'bare', socket => $socket);
        my $first  = EventSource::Hub->new(@bare);
        $first->publish(figures => 'as it is');
        my $process = EventSource::Hub::Process->connect(name => 'bare', socket => $socket);
        is $process->show_channel, undef, 'shows none';
        is error_of(sub { EventSource::Hub->new(@bare, show_channel => 'data')->publish(figures => 'x') }),
            'no exception', 'has the first that is named';
        is error_of(sub { $first->publish(figures => 'x') }), 'refused show_channel',
            'an object of before is refused from then on';
        is error_of(sub { $process->publish(figures => 'x') }), 'refused show_channel', 'so is a connection';
    };
}

done_testing;
