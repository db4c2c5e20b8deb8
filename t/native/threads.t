# ithreads beside native streams: a stream belongs to the thread that has opened it. The copies of other threads are of no use,
# and what happens to them does nothing to the stream.

use lib 't/lib';
use Testing qw(native);
use Config;
BEGIN { plan skip_all => 'this perl has no threads' if !$Config{useithreads} }
use threads;

use EventSource::XS;
use Plack::App::EventSource::Connection;
use Testing::Fork qw(in_thread);
use Testing::StreamPair;
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

# Runs code in a thread. Returns the code of the EventSource::Error that it has thrown, and its message.
sub error_in_thread {
    my $code = shift;
    return in_thread sub {
        eval { $code->(); 1 } and return 'none';
        return ref $@ ? ($@->code, $@->message) : ('no object', $@);
    };
}

my @warnings : shared;
$SIG{__WARN__} = sub { push @warnings, @_ };

subtest 'a stream continues beside threads, whatever becomes of their copies' => sub {
    my ($conn, $client) = connection(%HANDLER);
    my $done : shared = 0;
    in_thread sub { return };
    in_thread sub { undef $conn; return };
    in_thread sub { threads->exit };
    threads->create(sub { undef $conn; $done = 1; return })->detach;
    ok wait_until($DEADLINE, sub { $done }), 'a detached thread ends';
    my @threads = map {
        threads->create(sub { undef $conn if $_[0] % 2; return }, $_)
    } 1 .. 8;
    $_->join for @threads;
    ok $conn->push('after threads'), 'the stream accepts a push';
    undef $conn;
    ok $client->read_all, 'the stream ends with the object of its thread';
    is $client->body, "data: after threads\r\n\r\n", 'its event arrives';
    is_deeply \@warnings, [], 'no destructor has warned';
};

subtest 'the methods of a copy throw an exception' => sub {
    my ($conn, $client) = connection;
    my $stream = $conn->stream;
    my %call   = (
        close    => sub { $conn->close },
        finish   => sub { $conn->finish },
        is_open  => sub { $conn->is_open },
        on_close => sub {
            $conn->on_close(sub { });
        },
        push         => sub { $conn->push('in a thread') },
        wait         => sub { $conn->wait(undef, 0) },
        write        => sub { $stream->write("data: x\n\n") },
        'two pushes' => sub {
            eval { $conn->push('in a thread') };
            $conn->push('in a thread');
        },
    );
    for my $name (sort keys %call) {
        my ($code, $message) = error_in_thread($call{$name});
        is $code, 'state', "$name throws state";
        like $message, qr/this object belongs to another thread/, 'and says why';
    }
    ok $conn->push('on'), 'the stream is still open';
    $conn->close;
    ok $client->read_all, 'the stream ends when its thread closes it';
    is $client->body, "data: on\r\n\r\n", 'it has sent nothing else';
};

subtest 'a stream ends while a thread has a copy' => sub {
    my ($conn, $client) = connection(%HANDLER);
    my @told;
    $conn->on_close(sub { push @told, $_[1] });
    my $ended : shared = 0;
    my $thread = threads->create(
        sub {
            wait_until($DEADLINE, sub { $ended });
            return;
        }
    );
    undef $conn;
    ok $client->read_all, 'the stream ends with the object of its thread';
    $ended = 1;
    $thread->join;
    ok wait_until($DEADLINE, sub { EventSource::XS->dispatch; @told }), 'on_close runs';
    is_deeply \@told, ['application'], 'on_close runs once';
};

subtest 'a stream that a thread has opened ends with the thread' => sub {
    my ($number, $client) = Testing::StreamPair->connect;
    in_thread sub {
        my $stream = Testing::StreamPair->stream($number, %HANDLER);
        Plack::App::EventSource::Connection->new(stream => $stream)->push('in a thread');
        return;
    };
    ok $client->read_all, 'the stream ends';
    is $client->body, "data: in a thread\r\n\r\n", 'its event arrives';
};

subtest 'on_close runs once, in the thread that has set it' => sub {
    my ($stream, $client) = Testing::StreamPair->open;
    my $told : shared = 0;
    $stream->on_close(sub { $told++ });
    $stream->close;
    $stream->_wait_for_end(1_000 * $DEADLINE);
    my ($own, $dispatched) = in_thread sub {
        my ($second, $other) = Testing::StreamPair->open;
        my $own = 0;
        $second->on_close(sub { $own++ });
        $second->close;
        my $count = 0;
        wait_until($DEADLINE, sub { ($count += EventSource::XS->dispatch) > 0 && $own });
        return ($own, $count);
    };
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
    in_thread sub { EventSource::XS->dispatch; return };
    is $told, 0, 'dispatch in the thread does not run the callback';
    EventSource::XS->dispatch;
    is $told, 1, 'dispatch in the main thread runs the callback';
};

subtest 'callbacks of an ended thread are discarded' => sub {
    my $number = EventSource::XS->notify_fd;
    EventSource::XS->dispatch;
    in_thread sub {
        my ($stream) = Testing::StreamPair->open(%HANDLER);
        $stream->on_close(sub { });
        return;
    };
    ok wait_until($DEADLINE, sub { !EventSource::XS->stats->{native} }), 'the stream of the thread ends';
    EventSource::XS->dispatch;
    ok !readable($number), 'the end does not make notify_fd readable';

    in_thread sub {
        my ($stream, $client) = Testing::StreamPair->open;
        $stream->on_close(sub { });
        $stream->close;
        wait_until($DEADLINE, sub { !EventSource::XS->stats->{native} });
        return;
    };
    EventSource::XS->dispatch;
    ok !readable($number), 'an end that the thread has not dispatched does not make notify_fd readable';
};

subtest 'each thread has a notify_fd of its own' => sub {
    my ($told, $quiet) = in_thread sub {
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
    };
    is "$told $quiet", '1 1', "the thread's notify_fd becomes readable, and not after dispatch";
};

subtest 'a thread that dies does not end a stream of its parent' => sub {
    my ($conn, $client) = connection(%HANDLER);
    local $SIG{__WARN__} = sub { };
    in_thread sub { die "on purpose\n" };
    ok $conn->push('on'), 'the stream accepts a push';
    $conn->close;
    ok $client->read_all, 'the stream ends';
};

# The reactor counts an end after the client has seen it.
ok wait_until($DEADLINE, sub { EventSource::XS->stats->{native} == 0 }), 'no stream is left';

done_testing;
