# ithreads: all threads share a hub, and it ends when the last thread releases it.

use lib 't/lib';
use Testing qw(native);
use Config;
BEGIN { plan skip_all => 'this perl has no threads' if !$Config{useithreads} }
use threads;

use EventSource::Hub;
use Testing::Deadline qw(wait_until);
use Testing::NamedHubs;
use Testing::Subscriber qw(events);
use Thread::Queue;

my $hub        = EventSource::Hub->new(history => {events => 10_000});
my $subscriber = Testing::Subscriber->open($hub, 'a');

subtest 'threads publish to one hub' => sub {
    my @threads = map {
        my $name = $_;
        threads->create(
            {context => 'list'},
            sub {
                return map { $hub->publish(a => "$name $_") } 1 .. 500;
            }
        );
    } 1 .. 4;
    my @ids    = map  { [$_->join] } @threads;
    my @blocks = grep { defined $_->{data} } $subscriber->blocks_at(2_000);
    is scalar @blocks, 2_000, 'all events of four threads arrive';
    my @numbers = map { /-([0-9]+)\z/ } map { $_->{id} } @blocks;
    is_deeply \@numbers, [1 .. 2_000], 'the events of four threads arrive in the order of their ids';
    for my $name (1 .. 4) {
        my @own = grep { $_->{data} =~ /\A$name / } @blocks;
        is_deeply [map { $_->{data} } @own], [map { "$name $_" } 1 .. 500],
            "the events of thread $name arrive in the order in which it published them";
        is_deeply [map { $_->{id} } @own], $ids[$name - 1],
            'the events of a thread have the ids that publish returned there';
    }
    is $hub->stats->{published}, 2_000, 'the hub counts the events of all threads';
};

subtest 'a thread subscribes' => sub {
    my ($stream, $client) = Testing::StreamPair->open(line_end => 'lf');
    my $conn = Plack::App::EventSource::Connection->new(stream => $stream);
    my $made = EventSource::Hub->new(show_channel => 'event');
    threads->create(sub { $made->subscribe($conn, 'b'); $made->publish(b => 'x'); return })->join;
    ok $client->read_until(qr/event: b\ndata: x\nid: .+\n\n/),
        'a stream that a thread has subscribed receives an event';
    is $made->publish(b => 'y'), $made->epoch . '-2', 'the hub publishes after a thread has ended';
    ok $client->read_until(qr/data: y\nid: .+\n\n/),
        'a stream that a thread has subscribed receives events after the thread has ended';
};

# On a server that blocks, a stream ends with its connection, unless a hub holds it.
for my $who ('thread', 'main thread') {
    subtest "the hub holds a stream that the $who has subscribed" => sub {
        my ($stream, $client) = Testing::StreamPair->open(is_loop => 0, line_end => 'lf', on_full => 'block');
        my $conn = Plack::App::EventSource::Connection->new(stream => $stream);
        undef $stream;
        my $made   = EventSource::Hub->new;
        my $told   = Thread::Queue->new;
        my $thread = threads->create(
            sub {
                $made->subscribe($conn, 'a') if $who eq 'thread';
                $told->dequeue;
                return;
            }
        );
        $made->subscribe($conn, 'a') if $who ne 'thread';
        ok wait_until(10, sub { $made->subscribers('a') == 1 }), 'the stream is subscribed';
        undef $conn;
        $told->enqueue(1);
        $thread->join;
        $made->publish(a => 'x');
        ok $client->read_until(qr/data: x\nid: .+\n\n/), 'the stream is open when no thread holds its connection';
        is $made->subscribers('a'), 1, 'the stream is still subscribed';
    };
}

subtest 'a hub ends when the last thread releases it' => sub {
    plan skip_all => 'a stream outlives the object of such a hub' if Testing::NamedHubs->is_on;
    my $made   = EventSource::Hub->new;
    my $reads  = Testing::Subscriber->open($made, 'a');
    my $thread = threads->create(sub { sleep 1 while !$made->publish(a => 'from the thread'); return });
    undef $made;
    $thread->join;
    ok $reads->client->read_all, "the streams end with the last thread's copy of the hub";
    is_deeply [map { $_->{data} } events($reads->client->text)], ['from the thread'],
        'all published events arrive before the stream ends';
};

subtest 'three threads release a hub at once' => sub {
    plan skip_all => 'a stream outlives the object of such a hub' if Testing::NamedHubs->is_on;
    for my $round (1 .. 20) {
        my $made  = EventSource::Hub->new;
        my $reads = Testing::Subscriber->open($made, 'a');
        pipe my $waits, my $opens or die "pipe: $!";
        my @threads = map {
            threads->create(sub { close $opens; sysread $waits, my $byte, 1; undef $made; return })
        } 1 .. 3;
        undef $made;
        close $opens;
        $_->join for @threads;
        next if $reads->client->read_all;
        return fail "round $round: its stream continues without a hub";
    }
    pass 'the stream ends in each of twenty rounds';
};

done_testing;
