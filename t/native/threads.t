# ithreads beside native streams: each thread has a copy of every stream, and a stream ends with its last copy.

use lib 't/lib';
use Testing qw(native);
use Config;
BEGIN { plan skip_all => 'this perl has no threads' if !$Config{useithreads} }
use threads;

use Testing::Deadline qw($DEADLINE wait_until);
use EventSource::XS;
use Testing::StreamPair;
use Plack::App::EventSource::Connection;
use threads::shared;

my %HANDLER = (is_loop => 0);

sub readable {
    my $number = shift;
    my $set    = '';
    vec($set, $number, 1) = 1;
    return scalar select $set, undef, undef, 0;
}

sub connection {
    my ($stream, $client) = Testing::StreamPair->open(@_);
    return (Plack::App::EventSource::Connection->new(stream => $stream), $client);
}

subtest "a thread's copy that is dropped does not end the stream" => sub {
    my ($conn, $client) = connection(%HANDLER);
    threads->create(sub { $conn->push('in a thread'); return })->join;
    threads->create(sub { undef $conn; return })->join;
    threads->create(sub { threads->exit })->join;
    ok $conn->push('after threads'), 'the stream accepts a push';
    undef $conn;
    ok $client->read_all, 'the stream ends with the last copy';
    is $client->body, "data: in a thread\r\n\r\ndata: after threads\r\n\r\n", 'the events of all threads arrive';
};

subtest 'a stream ends with the last thread that holds it' => sub {
    my ($conn, $client) = connection(%HANDLER);
    my $dropped : shared = 0;
    my $thread = threads->create(
        sub {
            wait_until($DEADLINE, sub { $dropped });
            $conn->push('from the thread') for 1 .. 3;
            return;
        }
    );
    undef $conn;
    $dropped = 1;
    $thread->join;
    ok $client->read_all, 'the stream ends with the thread';
    is $client->body, "data: from the thread\r\n\r\n" x 3, 'the events of the thread arrive';
};

subtest 'an on_close callback does not keep a stream open' => sub {
    my ($conn, $client) = connection(%HANDLER);
    my @told;
    $conn->on_close(sub { push @told, $_[1] });
    my $dropped : shared = 0;
    my $thread = threads->create(
        sub {
            wait_until($DEADLINE, sub { $dropped });
            return;
        }
    );
    undef $conn;
    $dropped = 1;
    $thread->join;
    ok $client->read_all,                                               'the stream ends with the thread';
    ok wait_until($DEADLINE, sub { EventSource::XS->dispatch; @told }), 'on_close runs';
    is_deeply \@told, ['application'], 'on_close runs once';
};

subtest 'a detached thread may push and drop its copy' => sub {
    my ($conn, $client) = connection(%HANDLER);
    my $done : shared = 0;
    threads->create(sub { $conn->push('detached'); undef $conn; $done = 1; return })->detach;
    ok wait_until($DEADLINE, sub { $done }), 'the detached thread ends';
    ok $conn->push('after it'),              'the stream accepts a push';
    undef $conn;
    ok $client->read_all, 'the stream ends';
    is $client->body, "data: detached\r\n\r\ndata: after it\r\n\r\n", 'the events of both threads arrive';
};

subtest 'a stream ends whichever thread drops it last' => sub {
    for my $round (1 .. 8) {
        my ($conn, $client) = connection(%HANDLER);
        my $go : shared = 0;
        my @threads = map {
            threads->create(sub { 1 until $go; undef $conn; return })
        } 1 .. 3;
        $go = 1;
        undef $conn;
        $_->join for @threads;
        next if $client->read_all;
        fail "round $round";
        return;
    }
    pass 'the stream ends in eight rounds';
};

subtest 'threads push to one stream' => sub {
    my ($stream, $client) = Testing::StreamPair->open(max_buffered => 64 * 1_048_576);
    my @threads = map {
        my $name = $_;
        threads->create(sub { $stream->write("data: $name $_\n\n") for 1 .. 500; return })
    } qw(a b c d);
    $_->join for @threads;
    $stream->close;
    ok $client->read_all, 'the stream ends';
    my $body = $client->body;
    my %got;
    push @{$got{$1}}, $2 while $body =~ s{\Adata: (\w) (\d+)\n\n}{};
    is $body, '', 'each event arrives whole';
    is_deeply \%got, {map { ($_ => [1 .. 500]) } qw(a b c d)}, 'the events of each thread arrive in order';
};

subtest 'on_close runs once, in the thread that has set it' => sub {
    my ($stream, $client) = Testing::StreamPair->open;
    my $told : shared = 0;
    $stream->on_close(sub { $told++ });
    my ($own, $dispatched) = threads->create(
        {context => 'list'},
        sub {
            $stream->close;
            my ($second, $other) = Testing::StreamPair->open;
            my $own = 0;
            $second->on_close(sub { $own++ });
            $second->close;
            my $count = 0;
            wait_until($DEADLINE, sub { ($count += EventSource::XS->dispatch) > 0 && $own });
            return ($own, $count);
        }
    )->join;
    is "$own $dispatched", '1 1', 'dispatch in a thread runs its own callback';
    ok wait_until($DEADLINE, sub { EventSource::XS->dispatch; $told }),
        'dispatch in the main thread runs the other callback';
    EventSource::XS->dispatch;
    is $told, 1, 'on_close runs once';
};

subtest 'a new thread does not run callbacks that are pending in its parent' => sub {
    my ($stream, $client) = Testing::StreamPair->open;
    my $told : shared = 0;
    $stream->close;
    $stream->_want_end;
    $stream->_wait_for_end(1_000 * $DEADLINE);
    $stream->on_close(sub { $told++ });
    threads->create(sub { EventSource::XS->dispatch; return })->join;
    is $told, 0, 'dispatch in the thread does not run the callback';
    EventSource::XS->dispatch;
    is $told, 1, 'dispatch in the main thread runs the callback';
};

subtest 'callbacks of an ended thread are discarded' => sub {
    my $number = EventSource::XS->notify_fd;
    EventSource::XS->dispatch;
    threads->create(
        sub {
            my ($stream) = Testing::StreamPair->open(%HANDLER);
            $stream->on_close(sub { });
            return;
        }
    )->join;
    ok wait_until($DEADLINE, sub { !EventSource::XS->stats->{native} }), 'the stream of the thread ends';
    EventSource::XS->dispatch;
    ok !readable($number), 'the end does not make notify_fd readable';

    threads->create(
        sub {
            my ($stream, $client) = Testing::StreamPair->open;
            $stream->on_close(sub { });
            $stream->close;
            wait_until($DEADLINE, sub { !EventSource::XS->stats->{native} });
            return;
        }
    )->join;
    EventSource::XS->dispatch;
    ok !readable($number), 'an end that the thread has not dispatched does not make notify_fd readable';
};

subtest 'each thread has a notify_fd of its own' => sub {
    my ($told, $quiet) = threads->create(
        {context => 'list'},
        sub {
            my $number = EventSource::XS->notify_fd;
            my ($stream, $client) = Testing::StreamPair->open;
            my $told = 0;
            $stream->on_close(sub { $told++ });
            $client->leave;
            my $set = '';
            vec($set, $number, 1) = 1;
            select $set, undef, undef, $DEADLINE;
            EventSource::XS->dispatch;
            return ($told, readable($number) ? 0 : 1);
        }
    )->join;
    is "$told $quiet", '1 1', "the thread's notify_fd becomes readable, and not after dispatch";
};

subtest 'a thread that dies does not end a stream of its parent' => sub {
    my ($conn, $client) = connection(%HANDLER);
    local $SIG{__WARN__} = sub { };
    threads->create(sub { die "on purpose\n" })->join;
    ok $conn->push('on'), 'the stream accepts a push';
    $conn->close;
    ok $client->read_all, 'the stream ends';
};

# The reactor counts an end after the client has seen it.
ok wait_until($DEADLINE, sub { EventSource::XS->stats->{native} == 0 }), 'no stream is left';

done_testing;
