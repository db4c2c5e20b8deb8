# What a hub, its streams and its application can be told, and what is refused at the line that said it.

use strict;
use warnings;
use utf8;

use lib 't/lib';
use EventSource::XS;
use Test::More;

{

    package OfHub;
    our @ISA = 'EventSource::Hub';
}
BEGIN { plan skip_all => 'there are no hubs on this system' if !EventSource::XS->can('_next_end') }
use EventSource::Hub;
use Testing::Subscriber;
use Testing::StreamPair;
use Plack::App::EventSource::Connection;

binmode $_, ':encoding(UTF-8)' for map { Test::More->builder->$_ } qw(output failure_output todo_output);

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
    ['an unknown setting'      => made(on_fast => 1), "unknown setting 'on_fast'"],
    ['half a pair'             => made('history'),    'new takes settings, as names and values'],
    ['history that is no hash' => made(history => 1_000), 'history must be a hash'],
    ['a bound that is none'    => made(history => {event  => 1}),   "unknown bound 'event' of history"],
    ['a bound below 0'         => made(history => {events => -1}),  'events of history must be a whole number from 0'],
    ['half an event'           => made(history => {events => 1.5}), 'events of history must be a whole number'],
    ['no number of bytes'      => made(history => {bytes  => ''}),  'bytes of history must be a whole number'],
    ['more bytes than there are' => made(history => {bytes   => '9' x 16}), 'bytes of history must be a whole number'],
    ['seconds that are a word'   => made(history => {seconds => 'inf'}),    'seconds of history must be a number'],
    ['seconds below 0'           => made(history => {seconds => -1}),       'seconds of history must be a number'],
    [
        'channels shown by a subclass' => sub { OfHub->new(show_channel => 'event') },
        'show_channel .+ not for a subclass'
    ],
    ['an unknown bound for all' => made(total_history => {hours => 1}), "unknown bound 'hours' of total_history"],
    [
        'no number of seconds for all' => made(total_history => {seconds => 'x'}),
        'seconds of total_history must be a number'
    ],
    ['a policy that is none'     => made(on_slow      => 'block'),  "on_slow must be 'disconnect', 'gap' or 'newest'"],
    ['no topic at all'           => made(max_topics   => 0),        'max_topics must be a whole number from 1'],
    ['a part of a topic'         => made(max_topics   => 1.5),      'max_topics must be a whole number from 1'],
    ['topics that end a line'    => made(max_topics   => "5\n"),    'max_topics must be a whole number from 1'],
    ['an empty gap_event'        => made(gap_event    => ''),       'gap_event must be one line that is not empty'],
    ['a gap_event of two lines'  => made(gap_event    => "a\nb"),   'gap_event must be one line'],
    ['a gap_event that ends one' => made(gap_event    => "gap\n"),  'gap_event must be one line'],
    ['a way to show channels'    => made(show_channel => 'id'),     "show_channel must be 'event' or 'data'"],
    ['one that ends a line'      => made(show_channel => "data\n"), "show_channel must be 'event' or 'data'"],
    ['a start that is none'     => made(start     => 'now'),  "start must be 'newest', 'oldest' or a number of events"],
    ['a start above 0'          => made(start     => 10),     'start must be'],
    ['a start of -0'            => made(start     => '-0'),   'start must be'],
    ['a start that ends a line' => made(start     => "-1\n"), 'start must be'],
    ['a keepalive that is none' => made(keepalive => 'x'),    'keepalive must be a number of seconds'],
    ['a retry that is none'     => made(retry     => 1.5),    'retry must be a whole number of milliseconds'],
    ['three retries'            => made(retry       => [1, 2, 3]), 'retry must be a whole number of milliseconds'],
    ['a timeout of 0'           => made(timeout     => 0),         'timeout must not be 0'],
    ['no stream at all'         => made(max_streams => 0),         'max_streams must be a whole number from 1'],
    ['native, perhaps'          => made(native      => 'perhaps'), "native must be 'auto', 0 or 1"],
    ['too small a preamble'     => made(preamble    => 2),         'preamble must be a number of bytes'],

    ['no channels'               => app(),                  'to_app takes channels, a code reference'],
    ['channels that are no code' => app(channels => ['a']), 'to_app takes channels, a code reference'],
    [
        'an unknown option' => app(channels => $channels, show_channel => 'data'),
        "unknown option 'show_channel' of to_app"
    ],
    ['half a pair of options' => app('channels'), 'to_app takes options, as names and values'],
    ['a bad start there'      => app(channels => $channels, start     => 'now'), 'start must be'],
    ['a bad keepalive there'  => app(channels => $channels, keepalive => -1),  'keepalive must be a number of seconds'],
    ['a bad retry there'      => app(channels => $channels, retry     => 'x'), 'retry must be'],

    ['no channel to follow'    => begun(),                  'there is no channel to subscribe to'],
    ['options alone'           => begun({after => 1}),      'there is no channel to subscribe to'],
    ['an undefined channel'    => begun(undef),             'a channel must be a string or a pattern, not undef'],
    ['an empty one'            => begun('a', ''),           "a channel's name must not be empty"],
    ['a reference'             => begun(['a']),             'a channel must be a string, not a reference to ARRAY'],
    ['a hash that is not last' => begun({after => 1}, 'a'), 'a channel must be a string, not a reference to HASH'],
    ['a long one'              => begun('é' x 513),         "a channel's name must have at most 1024 bytes in UTF-8"],
    ['an option that is none'  => begun('a', {since => 1}), "unknown option 'since'"],
    ['a start that is none, here'  => begun('a', {start => 'now'}), 'start must be'],
    ['a place that is a reference' => begun('a', {after => []}),    'after must be a string, not a reference to ARRAY'],

    ['no connection' => sub { $hub->subscribe(undef, 'a') },   'subscribe takes a Plack::App::EventSource::Connection'],
    ['a stream'      => sub { $hub->subscribe($stream, 'a') }, 'subscribe takes a Plack::App::EventSource::Connection'],
    ['one without a stream'       => sub { $hub->subscribe($bare, 'a') }, 'subscribe takes a .* that has a stream'],
    ['nothing to follow'          => sub { $hub->serve($conn) },          'there is no channel to subscribe to'],
    ['following by no connection' => sub { $hub->serve({}, 'a') },        'serve takes a Plack'],
    ['an option of follow'        => sub { $hub->serve($conn, 'a', {since => 1}) }, "unknown option 'since'"],
    ['leaving by no connection'   => sub { $hub->unsubscribe('a') },                'unsubscribe takes a Plack'],
    ['leaving what is none'       => sub { $hub->unsubscribe($conn, {}) },          'a channel must be a string'],

    ['no pattern'        => sub { EventSource::Hub->pattern },     'a pattern must be a string that is not empty'],
    ['an empty one, too' => sub { EventSource::Hub->pattern('') }, 'a pattern must be a string'],
    ['a pattern of references' => sub { EventSource::Hub->pattern(qr/x/) }, 'a pattern must be a string'],
    ['a long pattern' => sub { EventSource::Hub->pattern('☺' x 342) },      'a pattern must have at most 1024 bytes'],

    ['no time to drain in'     => sub { $hub->drain },         'drain takes a number of seconds'],
    ['a time that is none'     => sub { $hub->drain('soon') }, 'drain takes a number of seconds'],
    ['a time below 0'          => sub { $hub->drain(-1) },     'drain takes a number of seconds'],
    ['no end of time'          => sub { $hub->drain('inf') },  'drain takes a number of seconds'],
    ['a time that ends a line' => sub { $hub->drain("1\n") },  'drain takes a number of seconds'],

    ['nobody to count'      => sub { $hub->subscribers('') },    "a channel's name must be a string that is not empty"],
    ['nobody at all'        => sub { $hub->subscribers(undef) }, "a channel's name must be a string that is not empty"],
    ['a reference to count' => sub { $hub->subscribers({}) },    "a channel's name must be a string, not a reference"],
    ['a long one to count'  => sub { $hub->subscribers('x' x 1_025) }, "a channel's name must have at most 1024 bytes"],
);

for my $row (@REFUSED) {
    my ($what, $code, $message) = @$row;
    ok !eval { $code->(); 1 }, "$what is refused";
    like $@,
        qr/\AEventSource::(?:Hub|Stream): $message.* at \S+settings\.t line [0-9]+\.?$|\APlack::App::EventSource: $message.* at \S+settings\.t line [0-9]+\.?$/,
        'with the reason, here';
}
is_deeply [@{$hub->stats}{qw(streams channels)}], [0, 0], 'nothing was begun by that';

my @TAKEN = (
    ['nothing'              => []],
    ['a hash'               => [{on_slow => 'gap'}]],
    ['no history'           => [history => {events  => 0, bytes => 0, seconds => 0}]],
    ['fractions of seconds' => [history => {seconds => 0.5}]],
    ['large numbers'        => [history => {events  => 999_999_999_999_999, bytes => '9' x 15, seconds => '9' x 15}]],
    [
        'undef for defaults' =>
            [map { ($_ => undef) } qw(gap_event history total_history keepalive on_slow retry show_channel start)]
    ],
    ['a gap_event' => [gap_event => 'lücke']],
    ['a start'     => [start     => -999_999_999]],
    [
        'all of streams' => [
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
    isa_ok $made, 'EventSource::Hub', "what is told $what" or diag $@;
    like eval { $made->publish(a => 'x') }, qr/\A[0-9a-v]{8}-1\z/, 'which publishes';
    is ref eval { $made->to_app(channels => $channels) }, 'CODE', 'and has an application';
}
is ref $hub->to_app({channels => $channels, start => -5}), 'CODE', 'which takes a hash too';

subtest 'a stream that has ended is not taken' => sub {
    my ($gone) = Testing::StreamPair->open;
    my $ended = Plack::App::EventSource::Connection->new(stream => $gone);
    $ended->close;
    ok !$hub->subscribe($ended, 'a'), 'by subscribe';
    ok !$hub->serve($ended, 'a'),     'nor by follow';
    $hub->unsubscribe($ended);
    is $hub->stats->{streams}, 0, 'nor counted';
};

subtest 'a stream follows one hub' => sub {
    my ($one, $other) = map { EventSource::Hub->new } 1, 2;
    my $follower = Testing::Subscriber->open($one, 'a');
    ok $follower->{taken},                                   'it is taken';
    ok !eval { $other->subscribe($follower->conn, 'a'); 1 }, 'another hub';
    like $@, qr/\AEventSource::Hub: this stream follows another hub at \S+settings\.t line/, 'is told so';
    $other->unsubscribe($follower->conn);
    is $one->subscribers('a'), 1, 'and cannot end that';
    $one->publish(a => 'x');
    is_deeply [$follower->data(1)], ['x'], 'it goes on';
    $one->unsubscribe($follower->conn);
    ok $other->subscribe($follower->conn, 'a'), 'when it has left the one, the other takes it';
    $one->publish(a => 'y');
    $other->publish(a => 'z');
    is_deeply [$follower->data(2)], ['x', 'z'], 'and only the other reaches it';
};

subtest 'unsubscribe' => sub {
    my $left     = EventSource::Hub->new;
    my $follower = Testing::Subscriber->open($left, 'a', 'b', EventSource::Hub->pattern('c/*'));
    $left->publish($_ => 1) for 'a', 'b', 'c/d';
    $left->unsubscribe($follower->conn, 'a', 'never followed', EventSource::Hub->pattern('c/*'));
    $left->publish($_ => 2) for 'a', 'b', 'c/d';
    is_deeply [$follower->data(4)], [1, 1, 1, 2], 'what was published before comes, and of the rest what it follows';
    is_deeply [map { $left->subscribers($_) } 'a', 'b', 'c/d'], [0, 1, 0], 'and counts';
    $left->unsubscribe($follower->conn);
    $left->publish(b => 3);
    $follower->conn->push('own');
    is_deeply [$follower->data(5)], [1, 1, 1, 2, 'own'], 'then nothing, but it is open';
    is $left->stats->{streams}, 0, 'and no longer the hub\'s';
    $left->subscribe($follower->conn, 'b');
    $left->publish(b => 4);
    is_deeply [$follower->data(6)], [1, 1, 1, 2, 'own', 4], 'it may come back';
};

subtest 'the hub holds a stream' => sub {
    my $holds    = EventSource::Hub->new;
    my $follower = Testing::Subscriber->open($holds, 'a', {stream => {is_loop => 0}});
    delete $follower->{conn};
    $holds->publish(a => 'x');
    is_deeply [$follower->data(1)], ['x'], 'that the application has let go of';
    undef $holds;
    ok $follower->client->read_all, 'as long as there is a hub';
};

done_testing;
