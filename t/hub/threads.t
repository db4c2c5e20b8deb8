# ithreads: all threads share a hub, and it ends when the last thread releases it.

use lib 't/lib';
use Testing qw(native);
use Config;
BEGIN { plan skip_all => 'this perl has no threads' if !$Config{useithreads} }
use threads;

use EventSource::Hub;
use EventSource::Hub::Lease;
use EventSource::Server;
use Test::EventSource;
use Testing::Fork qw(in_thread);
use Testing::NamedHubs;
use Testing::Subscriber qw(events);
use Thread::Queue;

my $hub        = EventSource::Hub->new(keep_history => {events => 10_000});
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

subtest 'a thread subscribes a stream of its own' => sub {
    my $made = EventSource::Hub->new(show_channel => 'event');
    my ($number, $client) = Testing::StreamPair->connect;
    my $told   = Thread::Queue->new;
    my $thread = threads->create(
        sub {
            my $stream = Testing::StreamPair->stream($number, is_loop => 0, line_end => 'lf', on_full => 'block');
            $made->subscribe(Plack::App::EventSource::Connection->new(stream => $stream), 'b');
            undef $stream;
            $made->publish(b => 'x');
            $told->dequeue;
            return;
        }
    );
    ok $client->read_until(qr/event: b\ndata: x\nid: .+\n\n/), 'its stream receives an event of the thread';
    is $made->publish(b => 'y'), $made->epoch . '-2', 'another thread publishes';
    ok $client->read_until(qr/data: y\nid: .+\n\n/), 'the stream receives that, too';
    $told->enqueue(1);
    $thread->join;
    $made->publish(b => 'z');
    ok $client->read_until(qr/data: z\nid: .+\n\n/), 'the hub holds the stream when the thread has ended';
    is $made->subscribers('b'), 1, 'it is still subscribed';
};

subtest 'a thread cannot subscribe a stream of its parent' => sub {
    my ($stream, $client) = Testing::StreamPair->open(line_end => 'lf');
    my $conn    = Plack::App::EventSource::Connection->new(stream => $stream);
    my $made    = EventSource::Hub->new;
    my ($error) = in_thread sub {
        eval { $made->subscribe($conn, 'a') };
        return "$@";
    };
    like $error, qr/this object belongs to another thread/, 'subscribe throws an exception';
    is $made->subscribers('a'), 0, 'the stream is not subscribed';
    $made->subscribe($conn, 'a');
    in_thread sub { undef $conn; $made->publish(a => 'x'); return };
    ok $client->read_until(qr/data: x\nid: .+\n\n/), 'its own thread subscribes it, and it receives events of threads';
};

subtest 'leases and connections to a hub process stay in their thread' => sub {
    plan skip_all => 'for named hubs' if !Testing::NamedHubs->is_on;
    my $made    = Test::EventSource->private_hub;
    my $lease   = EventSource::Hub::Lease->new(hub => $made, name => 'a', on_change => sub { });
    my $process = $made->process;
    ok wait_until($DEADLINE, sub { EventSource::XS->dispatch; $lease->is_held }), 'a lease is held';
    my ($error, $own) = in_thread sub {
        eval { $process->publish(a => 'x'); 1 } and return 'none';
        my ($code, $is_held) = ($@->code, $lease->is_held);
        undef $lease;
        return ($code,
            $is_held || EventSource::Hub::Lease->new(hub => $made, name => 'a', on_change => sub { })->is_held);
    };
    is $error, 'state', 'a thread cannot use a connection of its parent';
    is $own,   '',      'nor has it a lease of its parent';
    ok $process->publish(a => 'x'), 'the connection goes on';
    ok $lease->is_held,             'and so does the lease';
};

subtest 'a server that a thread frees' => sub {
    my $server = EventSource::Server->new;
    my $stream = Test::EventSource->new(app => $server->to_app)->get('/');
    in_thread sub { undef $server; return };
    $server->emit('x');
    $stream->like_event('x', 'its streams continue');
};

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
