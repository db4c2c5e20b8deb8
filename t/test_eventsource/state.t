# state_is and members_are: what the client of a stream knows that keeps the state, and who is here.

use lib 't/lib';
use Testing qw(native);
use EventSource::Hub;
use Test::EventSource   qw(members_are state_is);
use Testing::Errors     qw(error_ok);
use Testing::SourceTree qw(slurp);

my @STATE = (timeout => 5, state => {key => 'item'});

sub set {
    my ($hub, $item, $left) = @_;
    return $hub->publish(stock => {key => $item, json => {item => $item, left => $left}, retain => 1});
}

sub left { return {json => {item => $_[0], left => $_[1]}} }

sub tested {
    my %setting = @_;
    my $hub     = EventSource::Hub->new(start => 'state', keep_history => {events => 2}, %setting);
    return ($hub, Test::EventSource->new(app => $hub->to_app(channels => sub { 'stock' })));
}

subtest 'a page from its first event to a gap' => sub {
    my ($hub, $es) = tested();
    my $empty = $es->get('/', @STATE);
    $empty->state_is({}, 'an empty state');
    set($hub, $_, 1) for qw(a b c a);
    my $page = $es->get('/', @STATE);
    $page->state_is({a => left(a => 1), b => left(b => 1), c => qr/"left":1/}, 'three keys');
    set($hub, d => 1);
    $hub->publish(stock => 'an event without a key');
    $hub->forget(stock => 'b');
    $page->like_event({json => {item => 'd', left => 1}}, 'an event that is taken otherwise');
    $page->state_is({map { $_ => left($_ => 1) } qw(a c d)}, 'counts, and a forgotten key is gone');
    $page->close;
    set($hub, d => 2);
    $page->reconnect;
    $page->state_is({a => left(a => 1), c => left(c => 1), d => left(d => 2)},
        'a page that comes back keeps its state');
    $page->close;
    $hub->forget(stock => $_) for qw(a c);
    set($hub, d => $_) for 3 .. 5;
    $page->reconnect;
    state_is($page, {d => left(d => 5)}, 'after a gap it has the state of then');
};

subtest 'other types, and a key that code finds' => sub {
    my ($hub, $es) = tested(gap_event => 'lost', position_event => 'here');
    my $page = $es->get(
        '/',
        position_event => 'here',
        state => {key => sub { $_[0]{data} =~ /\A(\w+)=/ ? $1 : undef }, forget_event => 'gone', gap_event => 'lost'}
    );
    $hub->publish(stock => {key => 'x', data => 'x=1', retain => 1});
    $hub->publish(stock => {key => 'y', data => 'y=1', retain => 1});
    $page->state_is({x => 'x=1', y => 'y=1'}, 'both keys');
    $hub->forget(stock => 'x', {event => 'gone'});
    $page->state_is({y => {event => 'message', data => 'y=1'}}, 'one is gone');
};

subtest 'a forgotten key is found as any other, or it is the data' => sub {
    my ($hub, $es) = tested();
    my $page = $es->get('/', @STATE);
    set($hub, $_, 1) for qw(a b c);
    $hub->forget(stock => 'a', {json => {item => 'a', gone => 1}});
    $hub->forget(stock => 'b');
    $page->state_is({c => left(c => 1)}, 'both are gone');
};

subtest 'a position that comes after the last event completes the state' => sub {
    my $writer;
    my $respond = sub {
        $writer = $_[0]->([200, ['Content-Type' => 'text/event-stream']]);
        $writer->write("data: a\n\n");
    };
    my $key_of = sub {
        $writer->write("event: position\nid: 1\ndata: \n\n");
        return 'key';
    };
    my $page = Test::EventSource->new(app => sub { $respond })->get('/', timeout => 5, state => {key => $key_of});
    $page->state_is({key => 'a'}, 'the position is written when the test takes the event');
};

subtest 'members' => sub {
    my $hub = EventSource::Hub->new(start => 'state', keep_history => {events => 2});
    my $app = $hub->to_app(
        channels => sub { ('room', 'people') },
        member   => sub {
            my ($id, $name) = split /=/, $_[0]{QUERY_STRING};
            return {id => $id, channel => 'people', leave_after => 0, json => {name => $name}};
        },
    );
    my $es  = Test::EventSource->new(app => $app);
    my $ann = $es->get('/?ann=Ann', members => 1, state => {key => 'item'});
    my $bob = $es->get('/?bob=Bob', members => 1);
    $_->members_are(['bob', 'ann'], 'each knows both') for $ann, $bob;
    members_are($ann, {ann => {name => 'Ann'}, bob => {name => 'Bob'}}, 'and their data');
    $hub->update_member(people => 'ann', {json => {name => 'Ann', typing => 1}});
    $hub->publish(room => {json => {id => 'cid', item => 'x'}});
    $bob->members_are({ann => {name => 'Ann', typing => 1}, bob => qr/"name":"Bob"/}, 'a change');
    members_are($hub, 'people', {ann => {name => 'Ann', typing => 1}, bob => qr/"name":"Bob"/}, 'the hub has the same');
    $bob->close;
    members_are($hub, 'people', ['ann'], 'the hub waits until Bob has left');
    $ann->members_are(['ann'], 'so does the client');
    $ann->state_is({x => qr/cid/}, 'an event that is not of a member is none, whatever it has');
    $ann->close;
    $hub->publish(room => 'more') for 1 .. 3;
    $ann->reconnect;
    $ann->members_are(['ann'], 'after a gap the client has the members of then');
    members_are($hub, 'nobody', [], 'nobody');
};

subtest 'members of a hub that shows channels in its data' => sub {
    my $hub = EventSource::Hub->new(start => 'state', show_channel => 'data');
    my $app = $hub->to_app(
        channels => sub { 'people' },
        member   => sub { return {id => $_[0]{QUERY_STRING}, channel => 'people', leave_after => 0, json => {x => 1}} },
    );
    my $es = Test::EventSource->new(app => $app);
    my ($ann, $bob) = map { $es->get("/?$_", members => 1) } qw(ann bob);
    $ann->members_are({ann => {x => 1}, bob => {x => 1}}, 'both');
    $hub->update_member(people => 'ann', {data => 'a text'});
    $hub->update_member(people => 'bob', {json => {x => 2}});
    members_are($hub, 'people', {ann => 'a text', bob => {x => 2}}, 'the hub has the changes');
    $ann->members_are({ann => {x => 1}, bob => {x => 2}}, 'the client, too, but not of a text without an id');
    $bob->close;
    $ann->members_are(['ann'], 'one has left');
};

subtest 'a member whose data has the form in which others show channels' => sub {
    my $hub  = EventSource::Hub->new(start => 'state');
    my %form = (channel => 'people', data => {id => 'bob'}, key => 'bob');
    my $app  = $hub->to_app(
        channels => sub { 'people' },
        member   => sub { return {id => 'ann', channel => 'people', leave_after => 0, json => \%form} },
    );
    my $ann = Test::EventSource->new(app => $app)->get('/', members => 1);
    $ann->members_are({ann => \%form}, 'is that member, as the hub has not said that it shows channels');
    ok !$ann->next_event(0), 'and what the hub says of its stream is no event';
};

subtest 'members with other types of events, and texts' => sub {
    my $hub = EventSource::Hub->new(start => 'state', gap_event => 'lost');
    my %own = (join => {event => 'here'}, update => {event => 'news'}, leave => {event => 'gone'});
    my $app = $hub->to_app(
        channels => sub { 'people' },
        member   => sub { return {id => $_[0]{QUERY_STRING}, channel => 'people', leave_after => 0, %own} },
    );
    my $es   = Test::EventSource->new(app => $app);
    my %type = (join_event => 'here', update_event => 'news', leave_event => 'gone', gap_event => 'lost');
    my ($ann, $bob) = map { $es->get("/?$_", members => \%type) } qw(ann bob);
    $ann->members_are({ann => {}, bob => {}}, 'both');
    $hub->update_member(people => 'ann', {json => {x => 1}, event => 'news'});
    $ann->members_are({ann => {x => 1}, bob => {}}, 'a change');
    $bob->close;
    $ann->members_are(['ann'], 'one has left');
    $hub->update_member(people => 'ann', {data => 'a text'});
    members_are($hub, 'people', {ann => 'a text'}, 'a hub knows texts, too');
};

subtest 'the example of the manual' => sub {
    my ($example) = slurp('perl/Test/EventSource.pm') =~ /^=head1 STATE$(.*?)^=head1/ms;
    my $code      = join "\n", map { s/^ {4}//r } grep { /^(?: {4}|\s*$)/ } split /\n/, $example;
    eval "use strict; use warnings; $code; 1" or fail "it runs: $@";    ## no critic (ProhibitStringyEval)
};

subtest 'mistakes' => sub {
    my ($hub, $es) = tested();
    error_ok('a state that is not a hash', invalid => 'state',   sub { $es->get('/', state   => 'item') });
    error_ok('no key',                     invalid => 'key',     sub { $es->get('/', state   => {}) });
    error_ok('an unknown option',          invalid => 'keys',    sub { $es->get('/', state   => {keys => 'item'}) });
    error_ok('members that are a text',    invalid => 'members', sub { $es->get('/', members => []) });
    error_ok('an unknown type',            invalid => 'join',    sub { $es->get('/', members => {join => 'x'}) });
    error_ok('a stream without members',   state   => undef,     sub { $es->get('/')->members_are([]) });
    error_ok 'members that are neither a list nor a hash',
        invalid => 'members',
        sub { $es->get('/', members => 1)->members_are('ann') };
    error_ok('of a hub, too',          invalid => 'members', sub { members_are($hub, 'x',   'ann') });
    error_ok('a channel that is none', invalid => 'channel', sub { members_are($hub, undef, ['ann']) });
    error_ok('a stream without state', state   => undef,     sub { $es->get('/')->state_is({}) });
    error_ok('a list',                 invalid => 'state', sub { $es->get('/', @STATE)->state_is([]) });
    error_ok('a wrong field',          invalid => 'dta',   sub { $es->get('/', @STATE)->state_is({a => {dta => 1}}) });
};

done_testing;
