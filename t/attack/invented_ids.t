# Attack: a client invents an id. It must not receive more than what the application lets it follow and what the history holds,
# an id of another channel says nothing to it, and no subscription is larger than max_topics.

use strict;
use warnings;

use lib 't/lib';
use EventSource::XS;
use Test::More;
BEGIN { plan skip_all => 'there are no hubs on this system' if !EventSource::XS->can('_next_end') }
use EventSource::Hub;
use Follower;

my $BEYOND = 12;    # events, more than the history of a channel holds

# A hub whose channels open and secret have more events than their history holds.
sub hub {
    my $hub = EventSource::Hub->new(history => {events => 5}, @_);
    for my $number (1 .. $BEYOND) { $hub->publish($_ => "$_ $number") for qw(open secret) }
    return $hub;
}

# The data of what a client receives first, up to an event that is published now.
sub received {
    my ($hub, %option) = @_;
    my $follower = Follower->open($hub, 'open', {%option});
    $hub->publish(open => 'end');
    my @data;
    $follower->client->read_until(qr/^data: end\n(?:.+\n)*\n/m) or fail 'the last event arrives';
    return [map { $_->{data} } grep { defined $_->{data} } Follower::blocks($follower->client->text)];
}

subtest 'the first id of an epoch gives what start oldest gives, and a gap' => sub {
    my $hub    = hub();
    my $oldest = received($hub, start => 'oldest');
    is_deeply $oldest, [(map { "open $_" } 8 .. 12), 'end'], 'start oldest gives the history';
    my $fresh    = hub();
    my $invented = received($fresh, last_event_id => $fresh->epoch . '-0');
    is_deeply $invented, ['{"reason":"forgotten"}', @$oldest], 'the id gives the same after a gap';
};

subtest 'an invented id never gives more than the history' => sub {
    for my $position ('-1', '-9', '--1', '-00', '-0-18446744073709551615') {
        my $hub = hub();
        my $got = received($hub, last_event_id => $hub->epoch . $position);
        is_deeply [grep { /\Aopen/ } @$got], [
            grep {
                my $seen = $_;
                grep { $_ eq $seen } @$got
            } map { "open $_" } 8 .. 12
            ],
            "$position: only the history of the channel";
        is_deeply [grep { /secret/ } @$got], [], "$position: nothing of another channel";
    }
};

subtest 'an id of the application is unknown to readers of another channel' => sub {
    my $hub = EventSource::Hub->new;
    $hub->publish(open   => {id => 'order-7', data => 'a'});
    $hub->publish(open   => 'b');
    $hub->publish(secret => {id => 'order-8', data => 'c'});
    is_deeply received($hub, last_event_id => 'order-7'), ['b', 'end'], 'its own channel resumes';
    my $unknown = EventSource::Hub->new;
    $unknown->publish(open   => 'a');
    $unknown->publish(secret => {id => 'order-8', data => 'c'});
    $unknown->publish(open   => 'b');
    is_deeply received($unknown, last_event_id => 'order-8'), ['{"reason":"unknown"}', 'end'],
        'another channel is told what an id that nobody has used would be told';
};

subtest 'opaque_ids' => sub {
    my $hub   = EventSource::Hub->new(opaque_ids => 1);
    my @ids   = map { $hub->publish(open => $_) } 1 .. 3;
    my $epoch = $hub->epoch;
    is_deeply [grep { length != 35 } @ids],                [], 'an id has 35 characters';
    is_deeply [grep { !/\A\Q$epoch\E-[0-9a-z]+\z/ } @ids], [], 'and begins with the epoch';
    my %tails = map { substr($_, -8) => 1 } @ids;
    is scalar keys %tails, 3, 'the ends of consecutive ids differ';
    is_deeply received($hub, last_event_id => $ids[1]), ['3', 'end'], 'an id that was sent resumes';

    for my $id ("$epoch-0", "$epoch-2", "$epoch-" . '0' x 26, $ids[0] . 'x') {
        my $other = EventSource::Hub->new(opaque_ids => 1);
        my $own   = $other->epoch;
        $other->publish(open => $_) for 1 .. 3;
        is_deeply received($other, last_event_id => $id =~ s/\A\Q$epoch\E/$own/r), ['{"reason":"unknown"}', 'end'],
            "$id is not known, whoever invents it";
    }
};

subtest 'max_topics' => sub {
    my $hub = EventSource::Hub->new(max_topics => 3);
    my $expected =
        qr/\AEventSource::Hub: a stream may have at most 3 channels and patterns \(max_topics\) at \Q$0\E line/;
    ok !eval { Follower->open($hub, 1 .. 4); 1 }, 'four topics at once are refused';
    like $@, qr/at most 3 channels and patterns/, 'and max_topics is named';
    my $follower = Follower->open($hub, 'a', 'b');
    ok !eval { $hub->subscribe($follower->conn, 'c', EventSource::Hub->match('d*')); 1 }, 'and two more than one';
    like $@, $expected, 'at the line of the caller';
    ok $hub->subscribe($follower->conn, 'c'),              'the third is accepted';
    ok !eval { $hub->subscribe($follower->conn, 'd'); 1 }, 'the fourth is not';
    $hub->unsubscribe($follower->conn, 'a');
    is $hub->stats->{streams}, 1, 'the stream goes on';
};

done_testing;
