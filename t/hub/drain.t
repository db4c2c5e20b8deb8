# EventSource::Hub->drain: streams end one after the other, each after a position and a reconnection time.

use lib 't/lib';
use Testing qw(native);
use EventSource::XS;
use EventSource::Hub;
use Testing::Subscriber;
use List::Util qw(max min uniq);
use Testing::StreamPair;
use Time::HiRes qw(time);

my $STREAMS = 20;

sub has_ended {
    my $client = shift->client;
    $client->read_until(qr{\z.^}, 0.001);
    return $client->ended;
}

# The time at which each stream has ended, as its client sees it.
sub ends {
    my @subscribers = @_;
    my %end;
    wait_until sub {
        for my $subscriber (grep { !$end{$_} } @subscribers) {
            $end{$subscriber} = time if has_ended($subscriber);
        }
        return keys %end == @subscribers;
    } or fail 'all streams end within the deadline';
    return map { $end{$_} } @subscribers;
}

# The streams that have ended by the time at which the first one has.
sub first_to_end {
    my @subscribers = @_;
    my @ended;
    wait_until sub {
        @ended = grep { has_ended($_) } @subscribers;
    } or fail 'a stream ends within the deadline';
    return @ended;
}

sub retry_of {
    return ($_[0]->client->text =~ /^retry: ([0-9]+)\r?$/mg)[-1];    # a line, without the end of a block
}

subtest 'drain(1) spreads the ends of its streams over a second' => sub {
    my $hub         = EventSource::Hub->new;
    my @subscribers = map { Testing::Subscriber->open($hub, 'a', {stream => {retry => 1_000}}) } 1 .. $STREAMS;
    $hub->publish(a => 'before');
    my @why;
    my $told = 0;
    $subscribers[0]->conn->on_close(sub { push @why, $_[1] });
    my $seconds = 1;
    my $begin   = time;
    is_deeply [$hub->drain($seconds)], [], 'drain returns nothing';
    cmp_ok time - $begin, '<', $seconds / 2, 'drain returns at once';
    my $during = $hub->publish(a => 'during');
    my @ends   = map { $_ - $begin } ends(@subscribers);
    cmp_ok max(@ends),              '<=', $seconds + 1,   'all streams end within the time of drain';
    cmp_ok max(@ends) - min(@ends), '>=', 0.7 * $seconds, 'the ends are spread over most of the time of drain';
    my $together = max(
        map {
            my $end = $_;
            scalar grep { abs($end - $_) < 0.1 * $seconds } @ends
        } @ends
    );
    cmp_ok $together, '<=', $STREAMS / 2, 'no more than half of the streams end together';
    my @retries = map { retry_of($_) } @subscribers;
    is_deeply [grep { $_ < 1_000 || $_ > 2_000 } @retries], [], 'each retry is one to two times the setting';
    cmp_ok scalar uniq(@retries), '>', $STREAMS / 2, 'the retries differ';
    my @during = grep { $_->client->text =~ /^data: during$/m } @subscribers;
    cmp_ok scalar @during, '>=', $STREAMS - 2, 'an event published during drain reaches the open streams';
    is_deeply [uniq(map { ($_->last_id =~ /-([0-9]+)\z/) ? $1 : 'none' } @during)], [2],
        'the last id of each such stream is the position of that event';
    ok wait_until(sub { EventSource::XS->dispatch; @why }), 'on_close is called for a drained stream';
    is_deeply \@why, ['server'], 'the reason of a drained stream is server';
    is $hub->stats->{streams}, 0, 'stats counts no stream after drain';
};

subtest 'drain(0) ends all streams at once' => sub {
    my $hub         = EventSource::Hub->new;
    my @subscribers = map { Testing::Subscriber->open($hub, 'a') } 1 .. $STREAMS;
    my $begin       = time;
    $hub->drain(0);
    cmp_ok max(ends(@subscribers)) - $begin, '<', 2, 'all streams end within two seconds of drain(0)';
    is_deeply [grep { $_ < 2_000 || $_ > 4_000 } map { retry_of($_) } @subscribers], [],
        'the retry is two to four seconds if the stream has no setting';
};

subtest 'a stream that begins during drain' => sub {
    my $hub         = EventSource::Hub->new;
    my @subscribers = map { Testing::Subscriber->open($hub, 'a') } 1, 2;
    $hub->drain(3_600);
    my $late = Testing::Subscriber->open($hub, 'a', {last_event_id => $hub->epoch . '-0'});
    ok $late->client->read_all, 'a stream that begins during drain ends at once';
    like retry_of($late), qr/\A[0-9]+\z/, 'a stream that begins during drain receives a retry';
    is $late->client->status, 200, 'a stream that begins during drain has the status 200';
    like $hub->publish(a => 'x'), qr/-1\z/, 'publish returns an id during drain';
    my ($gone) = first_to_end(@subscribers);          # one of the two streams ends at once
    my ($left) = grep { $_ != $gone } @subscribers;
    is_deeply [$left->data(1)], ['x'], 'an event published during drain reaches an open stream';
    $hub->drain(0);
    ends($left);
};

subtest 'drain leaves other streams open' => sub {
    my ($hub, $other) = map { EventSource::Hub->new } 1, 2;
    my $stays = Testing::Subscriber->open($other, 'a');
    my ($plain, $client) = Testing::StreamPair->open;
    my $goes = Testing::Subscriber->open($hub, 'a');
    $hub->drain(0);
    ends($goes);
    $other->publish(a => 'x');
    is_deeply [$stays->data(1)], ['x'], 'a stream of another hub receives its events after drain';
    ok $plain->write("data: y\n\n"),     'a stream without a hub can be written to after drain';
    ok $client->read_until(qr/data: y/), 'the client of a stream without a hub receives data after drain';
};

subtest 'drain is called twice' => sub {
    my $hub         = EventSource::Hub->new;
    my @subscribers = map { Testing::Subscriber->open($hub, 'a') } 1 .. 5;
    my $begin       = time;
    $hub->drain(3_600);
    $hub->drain(0.2);
    cmp_ok max(ends(@subscribers)) - $begin, '<', 5, 'the shorter of two times of drain counts';
    is scalar(() = $subscribers[-1]->client->text =~ /^retry:/mg), 1,
        'each stream receives one retry from two calls of drain';
};

subtest 'a hub without streams is drained' => sub {
    my $hub = EventSource::Hub->new;
    ok eval { $hub->drain(5); 1 }, 'drain lives without streams';
    is $hub->stats->{streams}, 0, 'stats counts no stream after drain without streams';
};

done_testing;
