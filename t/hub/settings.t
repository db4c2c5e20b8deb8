# The settings of a hub, its streams and its application: accepted values, and errors that name the caller's line.

use lib 't/lib';
use Testing qw(native);

{

    package OfHub;
    our @ISA = 'EventSource::Hub';
}
use EventSource::Hub;
use Testing::NamedHubs;
use Testing::Subscriber;
use Testing::StreamPair;
use Plack::App::EventSource::Connection;

my $hub = EventSource::Hub->new;
my ($stream, $client) = Testing::StreamPair->open;
my $conn     = Plack::App::EventSource::Connection->new(stream  => $stream);
my $bare     = Plack::App::EventSource::Connection->new(push_cb => sub { }, close_cb => sub { });
my $channels = sub { 'a' };

sub made {
    my @with = @_;
    return sub { EventSource::Hub->new(@with) }
}

sub app {
    my @with = @_;
    return sub { $hub->to_app(@with) }
}

sub begun {
    my @with = @_;
    return sub { $hub->subscribe($conn, @with) }
}

my @REFUSED = (
    ['an unknown setting'           => made(on_fast => 1),            "unknown setting 'on_fast'"],
    ['half a pair'                  => made('history'),               'new takes settings, as names and values'],
    ['a history that is not a hash' => made(history => 1_000),        'history must be a hash'],
    ['an unknown bound of history'  => made(history => {event => 1}), "unknown bound 'event' of history"],
    [
        'a negative bound of events' => made(history => {events => -1}),
        'events of history must be a whole number from 0'
    ],
    ['a fraction of an event'   => made(history => {events => 1.5}), 'events of history must be a whole number'],
    ['an empty number of bytes' => made(history => {bytes  => ''}),  'bytes of history must be a whole number'],
    [
        'a number of bytes with 16 digits' => made(history => {bytes => '9' x 16}),
        'bytes of history must be a whole number'
    ],
    ['an infinite number of seconds' => made(history => {seconds => 'inf'}), 'seconds of history must be a number'],
    ['a negative number of seconds'  => made(history => {seconds => -1}),    'seconds of history must be a number'],
    [
        'show_channel of a subclass' => sub { OfHub->new(show_channel => 'event') },
        'show_channel .+ not for a subclass'
    ],
    ['an unknown bound of state'  => made(state       => {events => 1}),  "unknown bound 'events' of state"],
    ['a negative number of keys'  => made(total_state => {keys   => -1}), 'keys of total_state must be'],
    ['a state that is not a hash' => made(state       => 7), 'state must be a hash of bounds'],
    [
        'an unknown bound of total_history' => made(total_history => {hours => 1}),
        "unknown bound 'hours' of total_history"
    ],
    [
        'a word as seconds of total_history' => made(total_history => {seconds => 'x'}),
        'seconds of total_history must be a number'
    ],
    ['an unknown policy of on_slow' => made(on_slow    => 'block'),  "on_slow must be 'disconnect', 'gap' or 'latest'"],
    ['a max_topics of 0'            => made(max_topics => 0),        'max_topics must be a whole number from 1'],
    ['a fraction of max_topics'     => made(max_topics => 1.5),      'max_topics must be a whole number from 1'],
    ['a max_topics with a line break' => made(max_topics => "5\n"),  'max_topics must be a whole number from 1'],
    ['an empty gap_event'             => made(gap_event  => ''),     'gap_event must be one line that is not empty'],
    ['a gap_event of two lines'       => made(gap_event  => "a\nb"), 'gap_event must be one line'],
    ['a gap_event with a line break at its end' => made(gap_event => "gap\n"), 'gap_event must be one line'],
    ['an unknown value of show_channel' => made(show_channel => 'id'), "show_channel must be 'event' or 'data'"],
    [
        'a show_channel with a line break at its end' => made(show_channel => "data\n"),
        "show_channel must be 'event' or 'data'"
    ],
    ['an unknown start' => made(start => 'now'), "start must be 'latest', 'oldest', 'state' or a number of events"],
    ['a positive start' => made(start => 10),    'start must be'],
    ['a start of -0'    => made(start => '-0'),  'start must be'],
    ['a start with a line break'  => made(start       => "-1\n"),    'start must be'],
    ['a word as keepalive'        => made(keepalive   => 'x'),       'keepalive must be a number of seconds'],
    ['a fractional retry'         => made(retry       => 1.5),       'retry must be a whole number of milliseconds'],
    ['three retries'              => made(retry       => [1, 2, 3]), 'retry must be a whole number of milliseconds'],
    ['a timeout of 0'             => made(timeout     => 0),         'timeout must not be 0'],
    ['a max_streams of 0'         => made(max_streams => 0),         'max_streams must be a whole number from 1'],
    ['an unknown value of native' => made(native      => 'perhaps'), "native must be 'auto', 0 or 1"],
    ['a preamble of 2 bytes'      => made(preamble    => 2),         'preamble must be a number of bytes'],

    ['to_app without channels'                => app(),                  'to_app takes channels, a code reference'],
    ['to_app with channels that are not code' => app(channels => ['a']), 'to_app takes channels, a code reference'],
    [
        'a setting of new in to_app' => app(channels => $channels, show_channel => 'data'),
        'show_channel is a setting of new, not an option of to_app'
    ],
    ['half a pair of options of to_app' => app('channels'), 'to_app takes options, as names and values'],
    ['an unknown start of to_app'       => app(channels => $channels, start => 'now'), 'start must be'],
    [
        'a negative keepalive of to_app' => app(channels => $channels, keepalive => -1),
        'keepalive must be a number of seconds'
    ],
    ['a word as retry of to_app' => app(channels => $channels, retry => 'x'), 'retry must be'],

    ['subscribe without channels'   => begun(),             'there is no channel to subscribe to'],
    ['subscribe with options alone' => begun({after => 1}), 'there is no channel to subscribe to'],
    ['subscribe to undef'           => begun(undef),        'a channel must be a string or a pattern, not undef'],
    ['subscribe to an empty name'   => begun('a', ''),      "a channel's name must not be empty"],
    ['subscribe to a reference'     => begun(['a']),        'a channel must be a string, not a reference to ARRAY'],
    [
        'subscribe with options that are not last' => begun({after => 1}, 'a'),
        'a channel must be a string, not a reference to HASH'
    ],
    [
        'subscribe to a name that is too long' => begun('é' x 513),
        "a channel's name must have at most 1024 bytes in UTF-8"
    ],
    ['an unknown option of subscribe' => begun('a', {since => 1}),     "unknown option 'since'"],
    ['an unknown start of subscribe'  => begun('a', {start => 'now'}), 'start must be'],
    [
        'a reference as after of subscribe' => begun('a', {after => []}),
        'after must be a string, not a reference to ARRAY'
    ],

    [
        'subscribe without a connection' => sub { $hub->subscribe(undef, 'a') },
        'subscribe takes a Plack::App::EventSource::Connection'
    ],
    [
        'subscribe of a bare stream' => sub { $hub->subscribe($stream, 'a') },
        'subscribe takes a Plack::App::EventSource::Connection'
    ],
    [
        'subscribe of a connection without a stream' => sub { $hub->subscribe($bare, 'a') },
        'subscribe takes a .* that has a stream'
    ],
    ['serve without channels'     => sub { $hub->serve($conn) },   'there is no channel to subscribe to'],
    ['serve without a connection' => sub { $hub->serve({}, 'a') }, 'serve takes a Plack'],
    ['an unknown option of serve' => sub { $hub->serve($conn, 'a', {since => 1}) }, "unknown option 'since'"],

    [
        'pattern without an argument' => sub { EventSource::Hub->pattern },
        'a pattern must be a string that is not empty'
    ],
    ['an empty pattern'       => sub { EventSource::Hub->pattern('') },    'a pattern must be a string'],
    ['a reference as pattern' => sub { EventSource::Hub->pattern(qr/x/) }, 'a pattern must be a string'],
    [
        'a pattern that is too long' => sub { EventSource::Hub->pattern('☺' x 342) },
        'a pattern must have at most 1024 bytes'
    ],
    [
        'a pattern of many segments with stars between two **' =>
            sub { EventSource::Hub->pattern('**a' . '/*' x 17 . '**') },
        'a pattern must have at most 16 slashes between two '
    ],

    ['drain without an argument'    => sub { $hub->drain },         'drain takes a number of seconds'],
    ['drain with a word'            => sub { $hub->drain('soon') }, 'drain takes a number of seconds'],
    ['drain with a negative number' => sub { $hub->drain(-1) },     'drain takes a number of seconds'],
    ['drain with infinity'          => sub { $hub->drain('inf') },  'drain takes a number of seconds'],
    ['drain with a line break'      => sub { $hub->drain("1\n") },  'drain takes a number of seconds'],

    [
        'subscribers of an empty name' => sub { $hub->subscribers('') },
        "a channel's name must be a string that is not empty"
    ],
    ['subscribers of undef' => sub { $hub->subscribers(undef) }, "a channel's name must be a string that is not empty"],
    [
        'subscribers of a reference' => sub { $hub->subscribers({}) },
        "a channel's name must be a string, not a reference"
    ],
    [
        'subscribers of a name that is too long' => sub { $hub->subscribers('x' x 1_025) },
        "a channel's name must have at most 1024 bytes"
    ],
);

for my $row (@REFUSED) {
    my ($what, $code, $message) = @$row;
    ok !eval { $code->(); 1 }, "$what throws";
    like $@,
        qr/\A(?:EventSource::(?:Hub|XS)|Plack::App::EventSource): $message.* at \S+settings\.t line [0-9]+\.?$/,
        "$what: the error names the reason and the line";
}
is_deeply [@{$hub->stats}{qw(streams channels)}], [0, 0], 'no call that throws has subscribed a stream';

my @TAKEN = (
    ['no setting'           => []],
    ['a hash'               => [{on_slow => 'gap'}]],
    ['no history'           => [history => {events  => 0, bytes => 0, seconds => 0}]],
    ['fractions of seconds' => [history => {seconds => 0.5}]],
    ['large numbers'        => [history => {events  => 999_999_999_999_999, bytes => '9' x 15, seconds => '9' x 15}]],
    [
        'undef for all settings' =>
            [map { ($_ => undef) } qw(gap_event history total_history keepalive on_slow retry show_channel start)]
    ],
    ['a gap_event' => [gap_event => 'lücke']],
    ['a start'     => [start     => -999_999_999]],
    [
        'all settings of streams' => [
            keepalive   => 0.5,
            linger      => 0,
            max_streams => 10,
            native      => 'auto',
            preamble    => 2_048,
            retry       => [0, 5],
            timeout     => 0.1,
            headers     => [X => 'y']
        ]
    ],
);
for my $row (@TAKEN) {
    my ($what, $given) = @$row;
    my $made = eval { EventSource::Hub->new(@$given) };
    isa_ok $made, 'EventSource::Hub', "$what: the hub" or diag $@;
    like eval { $made->publish(a => 'x') }, qr/\A[0-9a-v]{8}-1\z/, "$what: the hub publishes";
    is ref eval { $made->to_app(channels => $channels) }, 'CODE', "$what: the hub has an application";
}
is ref $hub->to_app({channels => $channels, start => -5}), 'CODE', 'to_app accepts a hash';

subtest 'a stream that has ended is not subscribed' => sub {
    my ($gone) = Testing::StreamPair->open;
    my $ended = Plack::App::EventSource::Connection->new(stream => $gone);
    $ended->close;
    ok !$hub->subscribe($ended, 'a'), 'subscribe returns false for a stream that has ended';
    ok !$hub->serve($ended, 'a'),     'serve returns false for a stream that has ended';
    is $hub->stats->{streams}, 0, 'a stream that has ended is not counted';
};

subtest 'a stream is subscribed to channels of one hub' => sub {
    my ($one, $other) = map { EventSource::Hub->new } 1, 2;
    my $subscriber = Testing::Subscriber->open($one, 'a');
    ok $subscriber->{taken},                                   'the first hub subscribes the stream';
    ok !eval { $other->subscribe($subscriber->conn, 'a'); 1 }, 'subscribe of another hub throws';
    like $@, qr/\AEventSource::Hub: this stream is subscribed to another hub at \S+settings\.t line/,
        "the error of another hub names the reason and the caller's line";
    $one->publish(a => 'x');
    is_deeply [$subscriber->data(1)], ['x'], 'the stream receives an event of its hub';
};

subtest 'a later subscription begins with new events' => sub {
    my $later      = EventSource::Hub->new;
    my $first      = $later->publish(a => 'before');
    my $subscriber = Testing::Subscriber->open($later, 'a', {after => $later->epoch . '-0'});
    $later->publish($_ => 'meanwhile') for 'b', 'c/d';
    my $pattern = EventSource::Hub->pattern('c/*');
    for my $row ([after => $first], [start => 'oldest'], [start => -1]) {
        my ($field, $value) = @$row;
        ok !eval { $later->subscribe($subscriber->conn, 'b', {$field => $value}); 1 }, "$field => $value throws";
        is_deeply [$@->code, $@->field], ['state', $field], 'the error has a code and names the field';
        like $@, qr/\AEventSource::Hub: $field is for a stream .* in the handler .* at \S+settings\.t line [0-9]+\.?$/,
            'its message names the remedy and the line';
    }
    ok $later->subscribe($subscriber->conn, 'b', {after => undef, start => 'latest'}), 'the stream is subscribed';
    ok $later->subscribe($subscriber->conn, $pattern), 'so it is to a pattern';
    $later->publish($_ => "to $_") for 'b', 'a', 'c/d';
    is_deeply [$subscriber->data(4)], ['before', 'to b', 'to a', 'to c/d'],
        'the client receives new events in their order';
};

subtest 'the hub holds a stream whose connection was released' => sub {
    my $holds      = EventSource::Hub->new;
    my $subscriber = Testing::Subscriber->open($holds, 'a', {stream => {is_loop => 0}});
    delete $subscriber->{conn};
    $holds->publish(a => 'x');
    is_deeply [$subscriber->data(1)], ['x'], 'a stream whose connection was released receives an event';
    return if Testing::NamedHubs->is_on;    # it stays in the hub process
    undef $holds;
    ok $subscriber->client->read_all, 'the stream ends when the hub is destroyed';
};

done_testing;
