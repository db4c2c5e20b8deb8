# The settings of a hub, its streams and its application: accepted values, and what they mean for a stream. The refused ones are
# in t/settings/mistakes.t.

use lib 't/lib';
use Testing qw(native);

use EventSource::Hub;
use Testing::NamedHubs;
use Testing::Subscriber;
use Testing::StreamPair;
use Plack::App::EventSource::Connection;

my $hub      = EventSource::Hub->new;
my $channels = sub { 'a' };

my @TAKEN = (
    ['no setting'           => []],
    ['a hash'               => [{on_slow => 'gap'}]],
    ['no history'           => [keep_history => {events  => 0, bytes => 0, seconds => 0}]],
    ['fractions of seconds' => [keep_history => {seconds => 0.5}]],
    ['large numbers' => [keep_history => {events => 999_999_999_999_999, bytes => '9' x 15, seconds => '9' x 15}]],
    [
        'undef for all settings' => [
            map { ($_ => undef) }
                qw(gap_event keep_history keep_total_history keepalive on_slow retry show_channel start)
        ]
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
    like $@, qr/\AEventSource::Hub: this stream is subscribed to another hub at [^\n]*settings\.t line/,
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
        like $@,
            qr/\AEventSource::Hub: $field is for a stream .* in the handler .* at [^\n]*settings\.t line [0-9]+\.?$/,
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
