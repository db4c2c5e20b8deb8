# max_topics: the maximum number of channels and patterns of a stream.

use lib 't/lib';
use Testing qw(native);
use EventSource::Hub;
use Testing::Subscriber;
use HTTP::Request::Common qw(GET);
use Plack::Test;

my $TOO_MANY =
    qr/\AEventSource::Hub: a stream may have at most ([0-9]+) channels and patterns \(max_topics\) at [^\n]*topics\.t line/;

# Subscribes, after the reactor has reported earlier subscriptions.
sub subscribes {
    my ($hub, $subscriber, @channels) = @_;
    $hub->stats;
    return eval { $hub->subscribe($subscriber->conn, @channels) } ? 1 : 0;
}

subtest 'a stream may have 1,000 channels by default' => sub {
    my $hub        = EventSource::Hub->new;
    my @channels   = map { "c$_" } 1 .. 1_000;
    my $subscriber = Testing::Subscriber->open($hub, @channels);
    is $hub->subscribers('c1000'),                             1,     'a stream is subscribed to 1,000 channels';
    is eval { $hub->subscribe($subscriber->conn, 'more'); 1 }, undef, 'a 1,001st channel throws';
    like $@, $TOO_MANY, "the error of a 1,001st channel names the limit and the caller's line";
    is $hub->subscribers('more'),                                      0,     'the 1,001st channel has no subscriber';
    is eval { Testing::Subscriber->open($hub, @channels, 'more'); 1 }, undef, '1,001 channels in one call throw';
    like $@, qr/\AEventSource::Hub: a stream may have at most 1000 /, 'the error of 1,001 channels names the limit';
};

subtest 'max_topics counts each topic of a stream once' => sub {
    my $hub        = EventSource::Hub->new(max_topics => 3);
    my $subscriber = Testing::Subscriber->open($hub, 'a');
    ok subscribes($hub, $subscriber, 'b', EventSource::Hub->pattern('n/*')), 'topics up to max_topics are accepted';
    ok !subscribes($hub, $subscriber, 'c'), 'one topic more is refused';
    my $other = Testing::Subscriber->open($hub, 'a');
    for (1 .. 10) { subscribes($hub, $other, 'a') }
    ok subscribes($hub, $other, 'b', 'c'), 'a topic that is subscribed to repeatedly counts once';
};

subtest 'an application whose channels exceed max_topics' => sub {
    my $hub = EventSource::Hub->new(max_topics => 2);
    my $app = $hub->to_app(channels => sub { return ('a', 'b', 'c') });
    my $died;
    test_psgi(
        app => sub {
            my $response = eval { $app->(@_) };
            $died = $@;
            return $response || [500, [], []];
        },
        client => sub {
            is $_[0]->(GET '/')->code, 500, 'too many channels of an application throw before the response begins';
        },
    );
    like $died, qr/\AEventSource::Hub: a stream may have at most 2 channels/,
        'the error of too many channels names the limit';
};

done_testing;
