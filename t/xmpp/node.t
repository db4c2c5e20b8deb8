# The events that follow from the list of a node's items and from its notifications, and in which order: as tables, without a
# service.

use lib 't/lib';
use Testing;
use EventSource::XS::XMPP::Event;
use EventSource::XS::XMPP::Known;
use EventSource::XS::XMPP::Node;

my $MOST = 10;    # items of a list

# What was published of a node: items that are there.
sub known {
    my @ids   = @_;
    my $known = EventSource::XS::XMPP::Known->new(undef, $MOST);
    $known->note($_, EventSource::XS::XMPP::Known->digest('')) for @ids;
    return $known;
}

sub event {
    my ($kind, $id) = @_;
    return EventSource::XS::XMPP::Event->new(kind => $kind, node => 'news', defined $id ? (id => $id) : ());
}

# An item of a notification, with a payload that is not looked at.
sub item { return EventSource::XS::XMPP::Event->new(kind => 'item', node => 'news', id => $_[0], payload => {}) }

# The events in words. Those that are checked again when they are published have a star.
sub shown {
    return [map { join ' ', $_->kind . ($_->{is_listed} ? '*' : ''), $_->kind eq 'order' ? $_->ids : $_->id || () } @_];
}

# The ids that were published, those of the list, the notifications that come first, and the events that follow.
my @CASES = (
    ['an empty node',                       [],        [],     [],        ['order']],
    ['new items',                           [],        [1, 2], [],        ['item* 1', 'item* 2', 'order 1 2']],
    ['a known item and a new one',          [1],       [1, 2], [],        ['item* 2', 'order 1 2']],
    ['a retraction that was missed',        [1, 2, 3], [1, 3], [],        ['retract* 2', 'order 1 3']],
    ['an old item that has made room',      [1, 2, 3], [2, 3], [],        ['order 2 3']],
    ['a purge that was missed',             [1, 2],    [],     [],        ['purge*', 'order']],
    ['only new items, others are no purge', [1, 2],    [3],    [],        ['item* 3', 'order 3']],
    ['a notification after the list',       [],        [1],    [item(2)], ['item* 1', 'order 1', 'item 2']],
    ['an item in both comes once',          [1],       [1, 2], [item(2)], ['order 1', 'item 2']],
    ['a retraction that was notified of',   [1, 2],    [1],    [event('retract', 2)], ['order 1', 'retract 2']],
    ['a purge that was notified of',        [1],       [],     [event('purge')],      ['order', 'purge']],
    ['a wanted item in the list',           [],        [1],    [event('item', 1)], ['item* 1', 'order 1']],
    ['a wanted item that is not there',     [],        [],     [event('item', 1)], ['order',   'item 1']],
);

for my $case (@CASES) {
    my ($name, $published, $listed, $notified, $expected) = @$case;
    my $node = EventSource::XS::XMPP::Node->new('news');
    my @now  = map { $node->take_notification($_) } @$notified;
    is_deeply \@now, [], "$name: nothing is published before the list" if @$notified;
    my @events = $node->take_list(known(@$published), 0, map { {id => $_} } @$listed);
    is_deeply shown(@events), $expected, $name;
}

subtest 'a part of a list' => sub {
    my $node = EventSource::XS::XMPP::Node->new('news');
    is_deeply shown($node->take_list(known(1, 2, 3), 1, {id => 1}, {id => 3})), ['order 1 3'],
        'says nothing of what is absent';
};

subtest 'a service that lists the newest first' => sub {
    my $node = EventSource::XS::XMPP::Node->new('news', is_newest_first => 1);
    is_deeply shown($node->take_list(known(), 0, {id => 2}, {id => 1})), ['item* 1', 'item* 2', 'order 1 2'],
        'its oldest item is published first';
};

subtest 'old items are skipped' => sub {
    my $node  = EventSource::XS::XMPP::Node->new('news', skips_old_items => 1);
    my $known = known();
    ok $node->skips_list($known), 'in the first list';
    is_deeply shown($node->take_list($known, 0, {id => 1})), ['order 1'], 'it is not published';
    ok !$node->skips_list($known), 'not in the next one';
    is_deeply shown($node->take_list($known, 0, {id => 1}, {id => 2})), ['item* 2', 'order 1 2'], 'what is new is';
};

subtest 'notifications after the list' => sub {
    my $node = EventSource::XS::XMPP::Node->new('news');
    ok !$node->is_live, 'are not published before';
    $node->take_list(known(), 0);
    ok $node->is_live, 'from then on they are';
    is_deeply shown($node->take_notification(item(1))), ['item 1'], 'at once';
    ok !$node->needs_list, 'a payload is enough';
    is_deeply [$node->take_notification(event('item', 2))], [], 'an item without payload waits';
    ok $node->needs_list, 'for a list';
    $node->begin_list;
    is_deeply [$node->take_notification(item(3))], [], 'and so does what comes after it';
    is_deeply shown($node->take_list(known(), 0, {id => 2})), ['item* 2', 'order 2', 'item 3'],
        'in the order of the service';
    ok !$node->needs_list, 'one list is enough';
};

done_testing;
