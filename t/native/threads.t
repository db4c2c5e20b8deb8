# ithreads beside native streams: each has a copy of every stream, and the last one that holds it counts.

use strict;
use warnings;

use Config;
use Test::More;
BEGIN { plan skip_all => 'this perl has no threads' if !$Config{useithreads} }
use threads;

use lib 't/lib';
use Testing::Deadline qw(wait_until);
use EventSource::XS;
BEGIN { plan skip_all => 'there is no native writer on this system' if !EventSource::XS->can('_next_end') }
use Testing::StreamPair;
use Plack::App::EventSource::Connection;
use threads::shared;

my $DEADLINE = 20;               # seconds
my %HANDLER  = (is_loop => 0);

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

subtest 'a copy that is dropped ends nothing' => sub {
    my ($conn, $client) = connection(%HANDLER);
    threads->create(sub { $conn->push('in a thread'); return })->join;
    threads->create(sub { undef $conn; return })->join;
    threads->create(sub { threads->exit })->join;
    ok $conn->push('after threads'), 'the stream goes on';
    undef $conn;
    ok $client->read_all, 'and ends with the last one';
    is $client->body, "data: in a thread\r\n\r\ndata: after threads\r\n\r\n", 'with what all have pushed';
};

subtest 'a thread may be the last to hold it' => sub {
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
    ok $client->read_all, 'it ends with the thread';
    is $client->body, "data: from the thread\r\n\r\n" x 3, 'with what it has pushed';
};

subtest 'a callback for its end, which holds the stream, does not count' => sub {
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
    ok $client->read_all,                                               'it ends with the thread';
    ok wait_until($DEADLINE, sub { EventSource::XS->dispatch; @told }), 'and that is told';
    is_deeply \@told, ['application'], 'once';
};

subtest 'a detached thread may be, too' => sub {
    my ($conn, $client) = connection(%HANDLER);
    my $done : shared = 0;
    threads->create(sub { $conn->push('detached'); undef $conn; $done = 1; return })->detach;
    ok wait_until($DEADLINE, sub { $done }), 'it has ended';
    ok $conn->push('after it'),              'the stream goes on';
    undef $conn;
    ok $client->read_all, 'and ends';
    is $client->body, "data: detached\r\n\r\ndata: after it\r\n\r\n", 'with all';
};

subtest 'whoever lets go last, the stream ends' => sub {
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
    pass 'eight times';
};

subtest 'threads push to one stream' => sub {
    my ($stream, $client) = Testing::StreamPair->open(max_buffered => 64 * 1_048_576);
    my @threads = map {
        my $name = $_;
        threads->create(sub { $stream->write("data: $name $_\n\n") for 1 .. 500; return })
    } qw(a b c d);
    $_->join for @threads;
    $stream->close;
    ok $client->read_all, 'it ends';
    my $body = $client->body;
    my %got;
    push @{$got{$1}}, $2 while $body =~ s{\Adata: (\w) (\d+)\n\n}{};
    is $body, '', 'each event is whole';
    is_deeply \%got, {map { ($_ => [1 .. 500]) } qw(a b c d)}, 'and in the order of its thread';
};

subtest 'an end is told where it was asked for, once' => sub {
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
    is "$own $dispatched", '1 1', 'a thread is told of its own stream';
    ok wait_until($DEADLINE, sub { EventSource::XS->dispatch; $told }), 'and this one of the other';
    EventSource::XS->dispatch;
    is $told, 1, 'once';
};

subtest 'what waits for dispatch is not run by a thread too' => sub {
    my ($stream, $client) = Testing::StreamPair->open;
    my $told : shared = 0;
    $stream->close;
    $stream->_want_end;
    $stream->_wait_for_end(1_000 * $DEADLINE);
    $stream->on_close(sub { $told++ });
    threads->create(sub { EventSource::XS->dispatch; return })->join;
    is $told, 0, 'not there';
    EventSource::XS->dispatch;
    is $told, 1, 'but here';
};

subtest 'a thread that is gone leaves nobody waiting' => sub {
    my $number = EventSource::XS->notify_fd;
    EventSource::XS->dispatch;
    threads->create(
        sub {
            my ($stream) = Testing::StreamPair->open(%HANDLER);
            $stream->on_close(sub { });
            return;
        }
    )->join;
    ok wait_until($DEADLINE, sub { !EventSource::XS->stats->{native} }), 'its stream has ended';
    EventSource::XS->dispatch;
    ok !readable($number), 'and its end does not keep our descriptor readable';

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
    ok !readable($number), 'nor one that it was never told';
};

subtest 'a thread that waits for its own ends' => sub {
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
    is "$told $quiet", '1 1', 'is told by a descriptor of its own';
};

subtest 'a thread that dies ends no stream but its own' => sub {
    my ($conn, $client) = connection(%HANDLER);
    local $SIG{__WARN__} = sub { };
    threads->create(sub { die "on purpose\n" })->join;
    ok $conn->push('on'), 'this one goes on';
    $conn->close;
    ok $client->read_all, 'and ends';
};

is(EventSource::XS->stats->{native}, 0, 'no stream is left');

done_testing;
