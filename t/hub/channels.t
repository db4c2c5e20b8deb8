# Settings that differ by channel: history, state and on_slow of the first name or pattern that matches. t/hub/slow.t has the
# slow clients, t/hub/who_begins.t settings that change.

use lib 't/lib';
use Testing qw(native);
use EventSource::Hub;
use Testing::Subscriber;

# The retained events of a channel after the first event of the hub, and the reason of a gap before them.
sub left {
    my ($hub, $channel) = @_;
    return join ' ', Testing::Subscriber->open($hub, $channel, {after => $hub->epoch . '-0'})->left;
}

sub publish {
    my ($hub, @channels) = @_;
    for my $number (1 .. 4) { $hub->publish($_ => $number) for @channels }
    return;
}

subtest 'the history of a channel' => sub {
    my $hub = EventSource::Hub->new(
        keep_history => {events => 3},
        per_channel  => {stock  => {keep_history => {events => 1}}, 'user/*' => {keep_history => {events => 4}}},
    );
    publish($hub, 'stock', 'user/7', 'news');
    is left($hub, 'stock'),  'evicted 4',     'a client that comes back receives a gap in one channel';
    is left($hub, 'user/7'), '1 2 3 4',       'and none in another';
    is left($hub, 'news'),   'evicted 2 3 4', 'the history of the hub is that of all other channels';
    is $hub->stats->{history}{events}, 8, 'the statistics count all';
};

subtest 'the first that matches counts' => sub {
    my @narrow   = map { {keep_history => {events => $_}} } 0 .. 3;
    my %channels = ('**' => $narrow[0], 'user/*' => $narrow[1], 'user/7*' => $narrow[2], 'user/7' => $narrow[3]);
    my %hash = ('user/7' => 'evicted 2 3 4', 'user/71' => 'evicted 3 4', 'user/8' => 'evicted 4', 'news' => 'evicted');
    my $hub  = EventSource::Hub->new(per_channel => \%channels);
    publish($hub, keys %hash);
    is left($hub, $_), $hash{$_}, "of a hash: names, then the longest text before a star: $_" for sort keys %hash;
    $hub =
        EventSource::Hub->new(per_channel =>
            ['user/*' => $narrow[1], 'user/7' => $narrow[3], EventSource::Hub->pattern('n*') => {}, '**' => $narrow[0]]
        );
    my %array = ('user/7' => 'evicted 4', 'news' => '1 2 3 4', 'x' => 'evicted');
    publish($hub, keys %array);
    is left($hub, $_), $array{$_}, "of an array: the first: $_" for sort keys %array;
};

subtest 'the age of a channel' => sub {
    my $hub = EventSource::Hub->new(
        keep_history => {seconds => 0},
        per_channel  =>
            {kept => {keep_history => {seconds => 60, events => 2}}, brief => {keep_history => {bytes => 1}}},
    );
    publish($hub, qw(kept brief news));
    ok wait_until(10, sub { $hub->stats->{history}{events} == 2 }), 'events expire at the age of their channel';
    is left($hub, $_),     'evicted',     $_ for qw(brief news);
    is left($hub, 'kept'), 'evicted 3 4', 'one that is longer than that of the hub';
    $hub = EventSource::Hub->new(
        keep_total_history => {seconds => 0},
        per_channel        => {a       => {keep_history => {seconds => 60}}}
    );
    publish($hub, 'a');
    ok wait_until(10, sub { $hub->stats->{history}{events} == 0 }), 'but not longer than that of keep_total_history';
};

subtest 'the state of a channel' => sub {
    my $hub = EventSource::Hub->new(
        keep_state  => {keys => 2},
        per_channel => {
            'stock/*' => {keep_state => {keys  => 3}},
            small     => {keep_state => {bytes => 20}},
            news      => {on_slow    => 'gap'}
        },
    );
    my $try = sub {
        my ($channel, @keys) = @_;
        my @refused = grep {
            my $key = $_;
            !eval { $hub->publish($channel => {key => $key, data => 'x' x 10, retain => 1}); 1 }
        } @keys;
        return @refused ? "@refused: $@" : 'all';
    };
    is $try->('stock/1', 1 .. 3), 'all', 'more than that of the hub';
    like $try->('stock/1', 4),
        qr/\A4: .*at most 3 keys and 16777216 bytes \(keep_state of per_channel 'stock\/\*'\).* line/,
        'the error names the setting';
    like $try->('small', 1), qr/\A1: .*at most 2 keys and 20 bytes \(keep_state of per_channel 'small'\)/, 'bytes';
    like $try->('news', 1 .. 3), qr/\A3: .*at most 2 keys and 16777216 bytes \(keep_state\)/,
        'the others have that of the hub';
};

subtest 'a key once is remembered as long as the longest history' => sub {
    my $hub = EventSource::Hub->new(
        keep_history => {seconds => 0},
        per_channel  => {kept    => {keep_history => {seconds => 60}}}
    );
    my @ids = map { $hub->publish(kept => $_, {once => 'order 7'}) } 1, 2;
    is $ids[1], $ids[0], 'the second publish returns the id of the first';
};

subtest 'settings that are accepted' => sub {
    ok eval { EventSource::Hub->new(per_channel => $_); 1 }, 'accepted'
        for undef, {}, [], {a => {}}, {"\x{263a}*" => {keep_history => {events => 1}}};
};

done_testing;
