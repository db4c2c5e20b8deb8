# How many channels and patterns a stream may be subscribed to.

use strict;
use warnings;

use lib 't/lib';
use EventSource::XS;
use Test::More;
BEGIN { plan skip_all => 'there are no hubs on this system' if !EventSource::XS->can('_next_end') }
use Testing::Deadline qw(wait_until);
use EventSource::Hub;
use Testing::Subscriber;
use HTTP::Request::Common qw(GET);
use Plack::Test;

my $DEADLINE = 10;    # seconds; for what should happen at once
my $TOO_MANY =
    qr/\AEventSource::Hub: a stream may have at most ([0-9]+) channels and patterns \(max_topics\) at \Q$0\E line/;

# Subscribes; waits until the reactor has said what was there already.
sub subscribes {
    my ($hub, $follower, @channels) = @_;
    $hub->stats;
    return eval { $hub->subscribe($follower->conn, @channels) } ? 1 : 0;
}

subtest 'a thousand by default' => sub {
    my $hub      = EventSource::Hub->new;
    my @channels = map { "c$_" } 1 .. 1_000;
    my $follower = Testing::Subscriber->open($hub, @channels);
    is $hub->subscribers('c1000'),                           1,     'are taken';
    is eval { $hub->subscribe($follower->conn, 'more'); 1 }, undef, 'one more is not';
    like $@, $TOO_MANY, 'which is said at the line of the caller';
    is $hub->subscribers('more'),                                      0,     'and nothing has come of it';
    is eval { Testing::Subscriber->open($hub, @channels, 'more'); 1 }, undef, 'nor are they at once';
    like $@, qr/\AEventSource::Hub: a stream may have at most 1000 /, 'which is said too';
};

subtest 'one after the other, twice, and given up' => sub {
    my $hub      = EventSource::Hub->new(max_topics => 3);
    my $follower = Testing::Subscriber->open($hub, 'a');
    ok subscribes($hub, $follower, 'b', EventSource::Hub->pattern('n/*')), 'as many as may be are taken';
    for (1 .. 10) {
        ok !subscribes($hub, $follower, 'c'), 'one more is not' if $_ == 1;
        $hub->unsubscribe($follower->conn, 'b');
        ok subscribes($hub, $follower, 'b'), 'one that was left makes room' if $_ == 10;
        subscribes($hub, $follower, 'b');
    }
    $hub->unsubscribe($follower->conn);
    ok subscribes($hub, $follower, 'x', 'y', 'z'), 'and so do all';
    my $other = Testing::Subscriber->open($hub, 'a');
    for (1 .. 10) { subscribes($hub, $other, 'a') }
    ok subscribes($hub, $other, 'b', 'c'), 'what is asked for twice counts once';
};

subtest 'an application that names too many' => sub {
    my $hub = EventSource::Hub->new(max_topics => 2);
    my $app = $hub->to_app(channels => sub { return ('a', 'b', 'c') });
    my $died;
    test_psgi(
        app => sub {
            my $response = eval { $app->(@_) };
            $died = $@;
            return $response || [500, [], []];
        },
        client => sub { is $_[0]->(GET '/')->code, 500, 'dies before the response has begun' },
    );
    like $died, qr/\AEventSource::Hub: a stream may have at most 2 channels/, 'and says why';
};

done_testing;
