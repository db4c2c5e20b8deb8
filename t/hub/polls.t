# Polls (EventSource::Hub, "to_app"): streams that end as soon as their client has something new, for clients whose streams are
# held back. In one process, and with a named hub. What every server does is in servers.t and outlive/polls.t; the forms of
# Prefer are in src/request/tests.rs.

use lib 't/lib';
use Testing qw(native named_hubs);
use EventSource::Hub;
use IO::Uncompress::Gunzip qw(gunzip);
use Test::EventSource;

my %BOUNDS = (keep_history => {events => 20_000, bytes => 1 << 24}, keep_total_history => {bytes => 1 << 25});

sub app {
    my ($hub, %option) = @_;
    return $hub->to_app(
        channels => sub {
            my ($topics) = $_[0]{QUERY_STRING} =~ /topics=([^&]*)/;
            return split /,/, $topics;
        },
        %option
    );
}

# A poll that has begun.
sub begin {
    my ($es, $id, $prefer, $topics, @headers) = @_;
    unshift @headers, 'Last-Event-ID' => $id if defined $id;
    return $es->get('/?topics=' . ($topics || 'a'), headers => [Prefer => $prefer || 'wait=60', @headers]);
}

# The answer to a poll: its events with data and its gaps, and the last id.
sub answer {
    my ($poll) = ref $_[0] eq 'Test::EventSource' ? begin(@_) : @_;
    $poll->ends_ok(undef, 'the poll ends in order');
    my @events = map { [$_->{event}, $_->{data}] } $poll->events(100_000);
    return (\@events, $poll->last_event_id);
}

my $named = Test::EventSource->private_hub(name => 'polls', %BOUNDS);
for my $kind ('in one process', 'named') {
    my $new =
        sub { $kind eq 'named' ? Test::EventSource->private_hub(name => 'polls', @_) : EventSource::Hub->new(@_) };
    my $hub = $kind eq 'named' ? $named : $new->(%BOUNDS);
    my $es  = Test::EventSource->new(timeout => 20, app => app($hub));

    subtest "$kind: a poll waits for what is new" => sub {
        my (undef, $id) = answer($es);
        my $poll = begin($es, $id);
        $es->wait_for(sub { $hub->stats->{polls}{waiting} == 1 });
        $hub->publish(b => 'of another channel');
        my $other = begin($es, $id, undef, 'a,b');
        is_deeply [(answer($other))[0]], [[['message', 'of another channel']]], 'a poll of that channel is answered';
        ok $poll->is_open, 'the other one waits';
        my $event = $hub->publish(a => 'new');
        is_deeply [answer($poll)],    [[['message', 'new']], $event], 'an event ends it';
        is_deeply [answer($es, $id)], [[['message', 'new']], $event], 'a client that lacks it receives it at once';
        my $last = $hub->publish(b => 'more');
        is_deeply [answer($es, $event, 'wait=1')], [[], $last], 'a client that waits in vain receives its position';
        is_deeply [answer($es, $last,  'wait=0')], [[], $last], 'and its own id if that has not changed';
        my $before = $hub->stats->{polls};
        answer($es, $last, "wait=0; reason=$_") for qw(mute cut cut of-the-client);
        my $after = $hub->stats->{polls};
        is_deeply [map { $after->{$_} - $before->{$_} } qw(mute silent refused cut other waiting)], [1, 0, 0, 2, 1, 0],
            'polls are counted by their reasons';
        $es->wait_for(sub { $hub->stats->{streams} == 0 });
        is $hub->stats->{streams}, 0, 'no stream is left';
    };

    subtest "$kind: a gap, and the state" => sub {
        my ($gap) = answer($es, 'nonsense');
        is $gap->[0][0], 'gap', 'a client with an unknown id is answered with a gap';
        my $state = Test::EventSource->new(timeout => 20, app => app($hub, start => 'state'));
        $hub->publish(s => {data => "state $_", key => $_, retain => 1}) for 1 .. 3;
        my $all = [map { ['message', "state $_"] } 1 .. 3];
        my ($events, $id) = answer($state, undef, undef, 's');
        is_deeply $events, $all, 'a new client is answered with the state';
        ok defined $id, 'and its position';
        my $poll = begin($state, $id, undef, 's');
        $es->wait_for(sub { $hub->stats->{polls}{waiting} == 1 });
        my $other = $hub->publish(b => 'of another channel');
        my $later = begin($state, $id, undef, 's');
        ok $es->wait_for(sub { $later->raw =~ /^id: \Q$other\E$/m }),
            'a client that resumes is told that it has all of the state';
        ok $es->wait_for(sub { $hub->stats->{polls}{waiting} == 2 }), 'which is not new: it waits';
        $hub->publish(s => {data => 'changed', key => 1, retain => 1});
        is_deeply [(answer($_))[0]], [[['message', 'changed']]], 'a change ends it' for $poll, $later;
    };

    subtest "$kind: channels that begin differently" => sub {
        $hub->publish(log    => "entry $_") for 1 .. 3;
        $hub->publish(people => {data => 'ann', key => 'ann', retain => 1});
        my $of = Test::EventSource->new(
            timeout => 20,
            app     => app(
                $hub,
                channels => sub { (['log', {start => -2}], ['people', {start => 'state'}]) },
                member   => sub { {channel => 'people', id => 'bob', leave_after => 0} },
            )
        );
        my ($events, $id) = answer($of);
        is_deeply [grep { defined } map { $_->[1] =~ /(entry [0-9]|ann)/ } @$events], ['entry 2', 'entry 3', 'ann'],
            'one answer has all';
        answer($of, $id, 'wait=0') for 1 .. 3;
        is $hub->members_count('people'), 1, 'the member stays';
    };

    subtest "$kind: the form of a stream does not matter" => sub {
        my (undef, $id) = answer($es);
        for my $row (
            ['without positions',      {position  => 'none'}],
            ['without keepalives',     {keepalive => 0}],
            ["on the server's writer", {native    => 0}],
            ['with an age',            {max_age   => 3600}],
        ) {
            my ($what, $option) = @$row;
            my $of = Test::EventSource->new(timeout => 20, app => app($hub, %$option));
            my (undef, $first) = answer($of);
            ok length $first, "$what: a new client receives an id";
            my $poll = begin($of, $first);
            $es->wait_for(sub { $hub->stats->{polls}{waiting} });
            my $event = $hub->publish(a => 'new ' x 1000);
            is_deeply [answer($poll)], [[['message', 'new ' x 1000]], $event], "$what: the poll is answered";
        }
        my $coded = Test::EventSource->new(timeout => 20, app => app($hub, compress => 1));
        for my $from ($id, undef) {
            my $poll = begin($coded, $from, undef, 'a', 'Accept-Encoding' => 'gzip');
            $es->wait_for(sub { !defined $from || $hub->stats->{polls}{waiting} || !$poll->is_open });
            $hub->publish(a => 'coded');
            answer($poll);
            is $poll->header('Content-Encoding'), 'gzip', 'a poll with a content coding';
            my $bytes = $poll->raw;
            ok gunzip(\$bytes => \my $text), 'is complete';
            like $text, defined $from ? qr/^data: new .*\nid: .*\n\n\z/m : qr/^id: .*\n\n\z/m, 'and has what is new';
        }
    };

    subtest "$kind: much is sent in several answers" => sub {
        my (undef, $id) = answer($es);
        my @ids = map { $hub->publish(a => $_ . 'x' x 1000) } 1 .. 600;
        my ($seen, $polls, @all) = ($id, 0);
        while ($polls++ < 20 && $seen ne $ids[-1]) {
            (my $events, $seen) = answer($es, $seen);
            push @all, map { $_->[1] =~ /([0-9]+)/ } @$events;
        }
        is_deeply \@all, [1 .. 600], 'each event once, in order';
        cmp_ok $polls, '>', 1, "in $polls answers";
    };

    subtest "$kind: the end of a poll by others" => sub {
        my %option = (label => sub { 'user/7' }, max_streams_per => [sub { 'one' }, 1]);
        my $of     = Test::EventSource->new(timeout => 20, app => app($hub, %option));
        my (undef, $id) = answer($of);
        for my $round (1 .. 3) {
            my $poll = begin($of, $id);
            is $poll->status, 200, 'a poll that has ended counts no more';
            $es->wait_for(sub { $hub->stats->{polls}{waiting} });
            is begin($of, $id)->status,      429, 'one that waits does';
            is $hub->end(label => 'user/7'), 1,   'it has labels';
            is_deeply [(answer($poll))[0]], [[]], 'and ends';
        }
        my $head = $of->request(HEAD => '/?topics=a', headers => [Prefer => 'wait=20, request=t']);
        is $head->header('Preference-Applied'), 'wait=20, request=t', 'HEAD has the head of a poll';
        my $echo = begin($of, $id, 'request=t');
        is $echo->header('Preference-Applied'), 'request=t', 'a stream echoes the token';
        is $echo->header('Incremental'),        '?1',        'and is a stream';
        $echo->close;
        is begin($es, 'eventsource-finished')->status, 204, 'a client that has finished is sent away';
        my $aged = Test::EventSource->new(timeout => 20, app => app($hub, max_age => 0.2));
        is_deeply [answer($aged, $id)], [[], $id], 'max_age counts, too';
    };

    subtest "$kind: a member stays between polls" => sub {
        my $of = Test::EventSource->new(
            timeout => 20,
            app     => app($hub, member => sub { {channel => 'room', id => 'ann', leave_after => 0} })
        );
        my @seen;
        my $watch = Test::EventSource->new(timeout => 20, app => app($hub))->get('/?topics=room');
        my $id;
        (undef, $id) = answer($of, $id, 'wait=0') for 1 .. 20;
        ok $es->wait_for(sub { $hub->stats->{streams} == 1 }), 'the polls have ended';
        $hub->publish(room => 'end');
        is_deeply [map { $_->{event} } $watch->events(2)], ['join', 'message'], 'it joins once, and does not leave';

        is $hub->members_count('room'), 1, 'it is here';
        $watch->close;
    };
    $hub->publish(a => 'x');
}

subtest 'ten thousand events are read by polls alone, while they are published' => sub {
    my $hub = $named;
    my $es  = Test::EventSource->new(timeout => 20, app => app($hub));
    my (undef, $id) = answer($es, undef, undef, 'n');
    my ($published, @all) = (0);
    while (@all < 10_000) {
        $hub->publish(n => ++$published, {wait => 0}) for 1 .. ($published < 10_000 ? 1 + int rand 200 : 0);
        my $poll = begin($es, $id, undef, 'n');
        $hub->publish(n => ++$published, {wait => 0}) while $published < 10_000 && rand > 0.1;
        $es->wait_for(sub { !$poll->is_open }) or last;
        push @all, map { $_->{data} } $poll->events(100_000);
        $id = $poll->last_event_id;
    }
    is_deeply \@all, [1 .. $published], 'each once, in order';
};

done_testing;
