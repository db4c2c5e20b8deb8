# Retention: the bounds of each channel and of all channels in events, bytes and seconds; when channels appear and
# vanish.

use lib 't/lib';
use Testing qw(native);
use EventSource::Hub;
use Testing::Subscriber;
use Time::HiRes qw(time);

# The retained events of channels after an id, and the reason of a gap before them, as a stream receives them.
sub left {
    my ($hub, $id, @channels) = @_;
    return Testing::Subscriber->open($hub, @channels, {after => $id, start => 'oldest'})->left;
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
        my $hub = EventSource::Hub->new(keep_history => $each, keep_total_history => $all);
        $hub->publish(a => $_) for @$published;
        is_deeply [left($hub, undef, 'a')], $kept, 'the newest events are retained';
        my $stats = $hub->stats;
        is $stats->{history}{events}, @$kept, 'stats counts the retained events';
        cmp_ok $stats->{history}{bytes}, '>=', length join('', @$kept), 'stats counts the retained bytes';
        is $stats->{history}{bytes}, 0, 'stats counts no byte if no event is retained' if !@$kept;
        is $stats->{channels}, @$kept ? 1 : 0, 'stats counts the channel if it has retained events';
        my @gap = @$kept < @$published ? 'evicted' : ();
        is_deeply [left($hub, $hub->epoch . '-0', 'a')], [@gap, @$kept],
            @gap
            ? 'a client that missed evicted events receives a gap'
            : 'a client that missed no evicted event receives no gap';
        is_deeply [left($hub, $hub->epoch . '-' . @$published, 'a')], [],
            'a client with the newest id receives nothing';
    };
}

subtest 'keep_total_history bounds all channels together' => sub {
    my $hub = EventSource::Hub->new(keep_history => {events => 3}, keep_total_history => {events => 6});
    $hub->publish("c$_" => $_) for 1, 1, 1, 1, 1, 2, 2, 3, 3, 4;
    is_deeply [map { [left($hub, undef, "c$_")] } 1 .. 4], [[1], [2, 2], [3, 3], [4]],
        'the oldest events of all channels are evicted first';
    is_deeply [left($hub, $hub->epoch . '-5', 'c2', 'c3', 'c4')], [2, 2, 3, 3, 4],
        'a client of other channels receives their events without a gap';
    is_deeply [left($hub, $hub->epoch . '-3', 'c2', 'c1')], ['evicted', 1, 2, 2],
        'a client of the channel with evicted events receives a gap';
    is $hub->stats->{history}{events}, 6, 'stats counts as many events as keep_total_history allows';
};

subtest 'a client that keeps up receives every event, however short the history is' => sub {
    for my $history ([events => 0], [events => 1], [bytes => 1], [seconds => 0]) {
        my $hub        = EventSource::Hub->new(keep_history => {@$history});
        my $subscriber = Testing::Subscriber->open($hub, 'a');
        for my $number (1 .. 50) {
            $hub->publish(a => $number);
            $subscriber->client->read_until(qr/^data: $number\nid: .+\n\n/m) or last;
        }
        is_deeply [$subscriber->data(50)], [1 .. 50], join ' ', @$history;

        # A burst makes no client slow, not even while other clients subscribe.
        my @others;
        for my $number (51 .. 2_050) {
            $hub->publish(a => $number);
            push @others, Testing::Subscriber->open($hub, 'a') if $number % 200 == 0;
        }
        is_deeply [$subscriber->data(2_050)], [1 .. 2_050], 'a client receives every event of a burst';
        my @data = $others[0]->data(1_850);
        is_deeply \@data, [201 .. 2_050], 'a client that subscribes during a burst receives every event after that';
        is $hub->stats->{slow}{disconnect}, 0, 'no stream of a burst counts as slow';
    }
};

subtest 'a burst makes none of 100 clients slow' => sub {
    my $hub         = EventSource::Hub->new(keep_history => {events => 1});
    my @subscribers = map { Testing::Subscriber->open($hub, 'a') } 1 .. 100;
    my $text        = 'x' x 20;
    $hub->publish(a => $text) for 1 .. 2_000;
    $hub->publish(a => 'last');
    my @complete = grep { my @data = $_->data(2_001); @data == 2_001 && $data[-1] eq 'last' } @subscribers;
    is scalar @complete,                100, 'each of 100 clients receives every event of a burst';
    is $hub->stats->{slow}{disconnect}, 0,   'no stream of 100 counts as slow after a burst';
};

subtest 'events expire' => sub {
    my $seconds    = 0.3;
    my $hub        = EventSource::Hub->new(keep_history => {seconds => $seconds});
    my $subscriber = Testing::Subscriber->open($hub, 'followed');
    my $before     = time;
    $hub->publish($_ => 'old') for qw(a followed);
    my $last = $hub->publish(b => 'old');
    is_deeply [left($hub, undef, 'a')], ['old'], 'a new event is retained' if time < $before + $seconds;
    ok wait_until(sub { !$hub->stats->{history}{events} }), 'events expire without a request';
    cmp_ok time - $before, '>=', $seconds, 'no event expires before its time';
    is_deeply $hub->stats->{history}, {events => 0, bytes => 0},
        'stats counts no event and no byte after events expired';
    is $hub->stats->{channels}, 1, 'a channel without subscribers vanishes with its last event';
    $subscriber->conn->close;
    $subscriber->client->read_all or fail 'the stream ends';
    is $hub->stats->{channels}, 0, 'a channel without events vanishes with its last subscriber';
    is_deeply [left($hub, $hub->epoch . '-0', 'a')], ['evicted'],
        'a client receives a gap for a channel that has vanished';
    is_deeply [left($hub, $hub->epoch . '-0', EventSource::Hub->pattern('b*'))], ['evicted'],
        'a client receives a gap for a vanished channel by a pattern';
    is_deeply [left($hub, $last, 'a', 'b')], [], 'a client with the newest id receives no gap for vanished channels';
    is_deeply [left($hub, $hub->epoch . '-0', 'never')], [],
        'a client receives no gap for a channel that never existed';
    $hub->publish(a => 'new');
    is_deeply [left($hub, $hub->epoch . '-0', 'a')], ['evicted', 'new'],
        'a client receives a gap for a channel that has vanished and appeared again';
    is_deeply [left($hub, $last, 'a')], ['new'], 'a client that missed nothing of such a channel receives no gap';
};

subtest 'counts of channels' => sub {
    my $hub = EventSource::Hub->new(keep_history => {events => 0});
    is_deeply [@{$hub->stats}{qw(channels patterns streams)}], [0, 0, 0], 'a new hub has no channel, pattern or stream';
    my @subscribers = map { Testing::Subscriber->open($hub, 'a', "b$_", EventSource::Hub->pattern("c$_*")) } 1 .. 3;
    is_deeply [@{$hub->stats}{qw(channels patterns streams)}], [4, 3, 3],
        'channels and patterns with subscribers are counted';
    $hub->publish("x$_" => 1) for 1 .. 100;
    is $hub->stats->{channels}, 4, 'channels without subscribers and events are not counted';
    $_->client->leave for @subscribers;
    eventually_ok 'channels and patterns vanish with the last stream' => sub {
        my $stats = $hub->stats;
        !grep { $_ } @$stats{qw(channels patterns streams)};
    } or diag explain $hub->stats;
    is $hub->stats->{published}, 100, 'the count of published events stays';
};

subtest 'many channels' => sub {
    my $hub = EventSource::Hub->new(keep_total_history => {events => 100});
    $hub->publish("c$_" => $_) for 1 .. 2_000;
    is_deeply [@{$hub->stats}{qw(channels)}, $hub->stats->{history}{events}], [100, 100],
        'the number of channels is bounded by the number of retained events';
    is_deeply [left($hub, $hub->epoch . '-0', 'c1')], ['evicted'],
        'a client that missed an evicted event of a vanished channel receives a gap';
    is_deeply [left($hub, $hub->epoch . '-1', 'c1')], [],
        'a client that missed no event of a vanished channel receives no gap';
};

subtest 'on_slow latest retains events per key for slow streams only' => sub {
    my $hub = EventSource::Hub->new(on_slow => 'latest', keep_history => {events => 2});
    $hub->publish(a => {key => $_ % 3, data => $_}) for 1 .. 10;
    is_deeply [left($hub, undef, 'a')], [9, 10], 'a new stream receives only events of the history';
    is_deeply [left($hub, $hub->epoch . '-0', 'a')], ['evicted', 9, 10],
        'a stream that resumes receives a gap and only events of the history';
};

done_testing;
