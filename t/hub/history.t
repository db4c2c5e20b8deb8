# What a hub remembers: events, bytes and seconds of each channel and of all; channels come and go.

use strict;
use warnings;

use lib 't/lib';
use EventSource::XS;
use Test::More;
BEGIN { plan skip_all => 'there are no hubs on this system' if !EventSource::XS->can('_next_end') }
use Testing::Deadline qw(wait_until);
use EventSource::Hub;
use Testing::Subscriber;
use Time::HiRes qw(sleep time);

my $DEADLINE = 10;    # seconds; for what should happen at once

# What is left of channels, and whether something of them is missing: what a stream gets that begins at a place.
sub left {
    my ($hub, $id, @channels) = @_;
    my $follower = Testing::Subscriber->open($hub, @channels, {after => $id, start => 'oldest'});
    $hub->unsubscribe($follower->conn);
    $follower->conn->push('end');
    my @data = $follower->data(1);
    @data = $follower->data(@data + 1) while !@data || $data[-1] ne 'end';
    pop @data;
    return map { /"reason":"(\w+)"/ ? $1 : $_ } @data;
}

my @BOUNDS = (
    ['events'                  => {events => 3},  {},             [1 .. 10],                [8, 9, 10]],
    ['one event'               => {events => 1},  {},             [1 .. 10],                [10]],
    ['no events'               => {events => 0},  {},             [1 .. 10],                []],
    ['bytes'                   => {bytes => 100}, {},             [map { $_ x 20 } 1 .. 9], [map { $_ x 20 } 8, 9]],
    ['the last, however large' => {bytes => 100}, {},             [1, 'x' x 1_000],         ['x' x 1_000]],
    ['all events'              => {},             {events => 4},  [1 .. 10],                [7 .. 10]],
    ['all bytes'               => {},             {bytes => 100}, [map { $_ x 20 } 1 .. 9], [map { $_ x 20 } 8, 9]],
    ['more than there are'     => {events => 20}, {events => 20}, [1 .. 10],                [1 .. 10]],
);
for my $row (@BOUNDS) {
    my ($what, $each, $all, $published, $kept) = @$row;
    subtest "a history bounded by $what" => sub {
        my $hub = EventSource::Hub->new(history => $each, total_history => $all);
        $hub->publish(a => $_) for @$published;
        is_deeply [left($hub, undef, 'a')], $kept, 'keeps the newest';
        my $stats = $hub->stats;
        is $stats->{history}{events}, @$kept, 'so many events';
        cmp_ok $stats->{history}{bytes}, '>=', length join('', @$kept), 'and their bytes are counted';
        is $stats->{history}{bytes}, 0, 'which are none' if !@$kept;
        is $stats->{channels}, @$kept ? 1 : 0, 'the channel is there as long as it has some';
        my @gap = @$kept < @$published ? 'forgotten' : ();
        is_deeply [left($hub, $hub->epoch . '-0', 'a')], [@gap, @$kept],
            @gap ? 'who has missed the others is told' : 'nobody has missed any';
        is_deeply [left($hub, $hub->epoch . '-' . @$published, 'a')], [], 'who is up to date is not';
    };
}

subtest 'channels share what there is for all' => sub {
    my $hub = EventSource::Hub->new(history => {events => 3}, total_history => {events => 6});
    $hub->publish("c$_" => $_) for 1, 1, 1, 1, 1, 2, 2, 3, 3, 4;
    is_deeply [map { [left($hub, undef, "c$_")] } 1 .. 4], [[1], [2, 2], [3, 3], [4]],
        'the oldest of all are forgotten first';
    is_deeply [left($hub, $hub->epoch . '-5', 'c2', 'c3', 'c4')], [2, 2, 3, 3, 4],
        'who follows the others misses nothing';
    is_deeply [left($hub, $hub->epoch . '-3', 'c2', 'c1')], ['forgotten', 1, 2, 2], 'who follows that one does';
    is $hub->stats->{history}{events}, 6, 'there are as many as may be';
};

subtest 'who keeps up misses nothing, however short the history is' => sub {
    for my $history ([events => 0], [events => 1], [bytes => 1], [seconds => 0]) {
        my $hub      = EventSource::Hub->new(history => {@$history});
        my $follower = Testing::Subscriber->open($hub, 'a');
        for my $number (1 .. 50) {
            $hub->publish(a => $number);
            $follower->client->read_until(qr/^data: $number\n\n/m) or last;
        }
        is_deeply [$follower->data(50)], [1 .. 50], join ' ', @$history;

        # A burst is no slow client, not even while others come.
        my @others;
        for my $number (51 .. 2_050) {
            $hub->publish(a => $number);
            push @others, Testing::Subscriber->open($hub, 'a') if $number % 200 == 0;
        }
        is_deeply [$follower->data(2_050)], [1 .. 2_050], 'nor in a burst';
        my @data = $others[0]->data(1_850);
        is_deeply \@data, [201 .. 2_050], 'nor those who come in it';
        is $hub->stats->{slow}{disconnect}, 0, 'nobody was slow';
    }
};

subtest 'a burst is no slow client, however many there are' => sub {
    my $hub       = EventSource::Hub->new(history => {events => 1});
    my @followers = map { Testing::Subscriber->open($hub, 'a') } 1 .. 100;
    my $text      = 'x' x 20;
    $hub->publish(a => $text) for 1 .. 2_000;
    $hub->publish(a => 'last');
    my @complete = grep { my @data = $_->data(2_001); @data == 2_001 && $data[-1] eq 'last' } @followers;
    is scalar @complete,                100, 'each gets all';
    is $hub->stats->{slow}{disconnect}, 0,   'nobody was slow';
};

subtest 'time' => sub {
    my $seconds  = 0.3;
    my $hub      = EventSource::Hub->new(history => {seconds => $seconds});
    my $follower = Testing::Subscriber->open($hub, 'followed');
    my $before   = time;
    $hub->publish($_ => 'old') for qw(a followed);
    my $last = $hub->publish(b => 'old');
    is_deeply [left($hub, undef, 'a')], ['old'], 'what is new is there' if time < $before + $seconds;
    ok wait_until($DEADLINE, sub { !$hub->stats->{history}{events} }), 'it expires without anybody who asks';
    cmp_ok time - $before, '>=', $seconds, 'not before its time';
    is_deeply $hub->stats->{history}, {events => 0, bytes => 0}, 'and leaves nothing';
    is $hub->stats->{channels}, 1, 'channels go with their last event, unless they are followed';
    $hub->unsubscribe($follower->conn);
    is $hub->stats->{channels}, 0, 'and that one with its last follower';
    is_deeply [left($hub, $hub->epoch . '-0', 'a')], ['forgotten'], 'a gap is told though the channel is gone';
    is_deeply [left($hub, $hub->epoch . '-0', EventSource::Hub->pattern('b*'))], ['forgotten'], 'by a pattern too';
    is_deeply [left($hub, $last, 'a', 'b')],                                     [], 'not to who was up to date';
    is_deeply [left($hub, $hub->epoch . '-0', 'never')],                         [], 'nor of a channel that never was';
    $hub->publish(a => 'new');
    is_deeply [left($hub, $hub->epoch . '-0', 'a')], ['forgotten', 'new'], 'nor does it forget that when it is back';
    is_deeply [left($hub, $last,              'a')], ['new'],              'or who has missed nothing';
};

subtest 'channels' => sub {
    my $hub = EventSource::Hub->new(history => {events => 0});
    is_deeply [@{$hub->stats}{qw(channels patterns streams)}], [0, 0, 0], 'there are none at first';
    my @followers = map { Testing::Subscriber->open($hub, 'a', "b$_", EventSource::Hub->pattern("c$_*")) } 1 .. 3;
    is_deeply [@{$hub->stats}{qw(channels patterns streams)}], [4, 3, 3], 'they are there when they are followed';
    $hub->publish("x$_" => 1) for 1 .. 100;
    is $hub->stats->{channels}, 4, 'what nobody follows and nothing is remembered of is not';
    $_->client->leave for @followers;
    ok wait_until(
        $DEADLINE,
        sub {
            my $stats = $hub->stats;
            !grep { $_ } @$stats{qw(channels patterns streams)};
        }
        ),
        'with the last stream all go'
        or diag explain $hub->stats;
    is $hub->stats->{published}, 100, 'what was counted stays';
};

subtest 'many channels' => sub {
    my $hub = EventSource::Hub->new(total_history => {events => 100});
    $hub->publish("c$_" => $_) for 1 .. 20_000;
    is_deeply [@{$hub->stats}{qw(channels)}, $hub->stats->{history}{events}], [100, 100],
        'are bounded with their events';
    is_deeply [left($hub, $hub->epoch . '-0', 'c1')], ['forgotten'], 'what they have forgotten is known';
    is_deeply [left($hub, $hub->epoch . '-1', 'c1')], [],            'and what they have not';
};

subtest 'events per key stay longer for slow streams' => sub {
    my $hub = EventSource::Hub->new(on_slow => 'newest', history => {events => 2});
    $hub->publish(a => {key => $_ % 3, data => $_}) for 1 .. 10;
    is_deeply [left($hub, undef, 'a')], [9, 10], 'which others are not sent';
    is_deeply [left($hub, $hub->epoch . '-0', 'a')], ['forgotten', 9, 10], 'nor those that come back';
};

done_testing;
