# The history and the state of a channel, as history, oldest and state return them: of a hub of this process, of
# named ones, of one with a store, and of a connection to a hub process.

use lib 't/lib';
use Testing qw(native);
use EventSource::Hub;
use Testing::Developer qw(has_command);
use Testing::Errors    qw(error_of);
use Testing::Redis;
use Testing::Subscriber;

my $folder = new_folder;

my $redis = has_command('redis-server') && Testing::Redis->start;

# Settings of a hub by its kind.
my %KIND = ('of this process' => []);
%KIND = (
    %KIND,
    'named'        => [name => 'named', socket => "$folder/named.sock", idle_exit => 1],
    'with a store' => [
        name      => 'stored',
        socket    => "$folder/stored.sock",
        idle_exit => 1,
        store     => {file => "$folder/events.db", sync => 'never'}
    ],
    $redis
    ? ('with Redis' =>
            [name => 'redis', socket => "$folder/redis.sock", idle_exit => 1, store => {redis => $redis->url}])
    : (),
) if eval { EventSource::Hub::Process->program };

sub data {
    return [map { $_->{data} } @_];
}

# Checks what hubs return that are the same one.
sub returns {
    my ($hubs, $method, $arguments, $expected, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is_deeply [$hubs->{$_}->$method(@$arguments)], $expected, "$_: $name" for sort keys %$hubs;
    return;
}

sub is_oldest {
    my ($hubs, $id, $since, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    for my $hub (sort keys %$hubs) {
        my $oldest = $hubs->{$hub}->oldest('few');
        is $oldest->{id}, $id, "$hub: $name";
        ok $oldest->{time} >= $since && $oldest->{time} < time + 2, "$hub: with its time";
    }
    return;
}

# What a client is sent that resumes after an event.
sub left {
    my ($hub, $id) = @_;
    return Testing::Subscriber->open($hub, 'few', {after => $id})->left;
}

for my $kind (sort keys %KIND) {
    my $hub = EventSource::Hub->new(
        keep_history => {events => 5000},
        per_channel  => [few => {keep_history => {events => 2}}],
        @{$KIND{$kind}}
    );
    my %hubs = (hub => $hub);
    $hub->epoch                    if @{$KIND{$kind}};
    $hubs{process} = $hub->process if @{$KIND{$kind}};

    subtest "$kind: events" => sub {
        returns(\%hubs, $_, ['news'], [], "$_ of a channel that nobody knows") for qw(history state);
        my @ids = map { $hub->publish(news => $_) } (
            {data    => "one\ntwo \x{20AC}", event => 'said', key => 'a', retain => 1},
            {comment => "a\nb",  retry  => 100},
            {data    => '',      key    => "\xE4", retain => 1},
            {data    => 'three', key    => 'a',    retain => 1, id => 'own'},
            {data    => 'alone', retain => 1},
        );
        my $gone = $hub->forget('news', "\xE4");
        my $last = {id => 'own', key => 'a', data => 'three'};
        my $none = {id => $ids[4], data => 'alone'};
        my @all  = (
            {id => $ids[0], event   => 'said', key   => 'a', data => "one\ntwo \x{20AC}"},
            {id => $ids[1], comment => "a\nb", retry => 100},
            {id => $ids[2], key     => "\xE4", data  => ''},
            $last, $none,
        );
        my ($forgotten) = grep { $_->{id} eq $gone } $hub->history('news');
        is_deeply [@$forgotten{qw(event key)}], ['forget', "\xE4"], 'a forgotten key is an event of the history';
        push @all, $forgotten;
        returns(\%hubs, state   => ['news'],              [$last, $none], 'the newest of each key, and one without');
        returns(\%hubs, history => ['news'],              \@all,          'all events, as clients are sent them');
        returns(\%hubs, history => ['news', last => 2],   [@all[4, 5]],   'the last two');
        returns(\%hubs, history => ['news', {last => 9}], \@all,          'the last nine of six');
    };

    subtest "$kind: many events, and large ones" => sub {
        $hub->publish(many => {key => $_ % 1500, data => $_, retain => 1}, {wait => 0}) for 1 .. 4000;
        $hub->publish(many => {key => 'last', data => 'last', retain => 1});
        returns(\%hubs, history => ['many'], [$hub->history('many', last => 9000)], 'parts are joined');
        is_deeply data($hub->history('many')), [1 .. 4000,    'last'], 'each event once, in order';
        is_deeply data($hub->state('many')),   [2501 .. 4000, 'last'], 'each key once';
        returns(\%hubs, state => ['many'], [$hub->state('many')], 'the same state');
        is_deeply data($hub->history('many', last => 2500)), [1502 .. 4000, 'last'],
            'the last ones are more than a part';
        my @large = map { $_ x 300_000 } 'a' .. 'c';
        $hub->publish(large => {key => $_, data => $_ x 300_000, retain => 1}) for 'a' .. 'c';
        is error_of(sub { $hubs{$_}->history('lines', last => 1) }), 'full channel', "$_: one that fits into no message"
            for grep { @{$KIND{$kind}} && $hub->publish(lines => "\n" x 3_000_000) } sort keys %hubs;
        ok "@{data($hubs{$_}->state('large'))}" eq "@large", "$_: events that are larger than a part"
            for sort keys %hubs;
    };

    subtest "$kind: the oldest event" => sub {
        my $since = time - 1;
        returns(\%hubs, oldest => ['few'], [undef], 'none of a channel that nobody knows');
        my @ids = map { $hub->publish(few => $_) } 1, 2;
        is_oldest(\%hubs, $ids[0], $since, 'the first one, while nothing is evicted');
        my $first = $hub->oldest('few')->{time};
        push @ids, map { $hub->publish(few => {data => $_, key => $_, retain => 1}) } 3, 4, 5;
        is_oldest(\%hubs, $ids[3], $since, 'the first of the history, also if the state has older ones');
        cmp_ok $hub->oldest('few')->{time}, '>=', $first - 0.1, 'which was published later';
        is_deeply [left($hub, $ids[3])], [5],               'a client resumes after it';
        is_deeply [left($hub, $ids[1])], ['evicted', 4, 5], 'but not after older ones';
        return if !@{$KIND{$kind}};
        my $time = $hub->oldest('few')->{time};
        kill KILL => $hub->stats->{process}{pid};
        my @found;
        eventually_ok $DEADLINE, 'after a restart' => sub {
            @found = eval { $hub->oldest('few') }
        };
        my $oldest = $found[0];
        return is $oldest, undef, 'without a store there is none' if $kind eq 'named';
        is $oldest->{id}, $ids[3], 'it is the same one';
        cmp_ok abs($oldest->{time} - $time), '<', 10, 'with its time';
        $hubs{process} = $hub->process;
    };

    subtest "$kind: mistakes" => sub {
        my $line = __LINE__ + 1;
        my $died = !eval { $hub->history('news', last => 0); 1 };
        like $@, qr/last must be a number of events from 1 on at \S+ line $line[.]?$/, 'at the line of the caller';
        for my $name (sort keys %hubs) {
            is error_of(sub { $hubs{$name}->history('news', @$_) }), "invalid $_->[0]", "$name: history: @$_"
                for [last => 'all'], [last => -1], [first => 1];
            is error_of(sub { $hubs{$name}->$_('') }), 'invalid channel', "$name: $_ without a channel"
                for qw(history oldest state);
        }
    };
}

subtest 'ids as clients are sent them' => sub {
    my $hub = EventSource::Hub->new(opaque_ids => 1);
    $hub->publish(news => $_) for 1 .. 2;
    my $client = Testing::Subscriber->open($hub, 'news', {start => 'oldest'});
    my @sent   = grep { defined $_->{data} } $client->blocks_at(2);
    is_deeply [map { $_->{id} } $hub->history('news')], [map { $_->{id} } @sent], 'opaque ones';
    is $hub->oldest('news')->{id}, $sent[0]{id}, 'also that of the oldest event';
};

done_testing;
