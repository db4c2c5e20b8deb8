# What a stream tells of its end: once, why, and only when callbacks may run.

use strict;
use warnings;

use lib 't/lib';
use Testing::Deadline qw(wait_until);
use EventSource::Stream;
use EventSource::XS;
use Test::More;
BEGIN { plan skip_all => 'there is no native writer on this system' if !EventSource::XS->can('_next_end') }
use Testing::StreamPair;
use Plack::App::EventSource::Connection;
use POSIX        ();
use Scalar::Util qw(weaken);

my $DEADLINE = 10;    # seconds; for what should happen at once

# Until so many callbacks have run in all.
sub dispatched {
    my $count = shift;
    my $ran   = 0;
    return wait_until($DEADLINE, sub { ($ran += EventSource::XS->dispatch) >= $count });
}

sub readable {
    my $number = shift;
    my $set    = '';
    vec($set, $number, 1) = 1;
    return scalar select $set, undef, undef, 0;
}

my @ENDS = (
    [application => 'close',                       sub { $_[0]->close }],
    [error       => 'close as for an error',       sub { $_[0]->close('error') }],
    [client      => 'a client that closes',        sub { $_[1]->leave }],
    [client      => 'a client that resets',        sub { $_[1]->leave(reset => 1) }],
    [error       => 'a socket that will not come', sub { $_[0]->_fail }],
);

for my $end (@ENDS) {
    my ($why, $what, $act) = @$end;
    subtest "$what ends by $why" => sub {
        my ($stream, $client) = Testing::StreamPair->open;
        my @told;
        $stream->on_close(sub { push @told, [@_] });
        ok $stream->is_open, 'open';
        $act->($stream, $client);
        ok wait_until($DEADLINE, sub { !$stream->is_open }), 'not open';
        ok !$stream->write("data: late\n\n"),                'nothing can be written any more, which is no exception';
        is_deeply \@told, [], 'nobody is told while nothing is dispatched';
        ok dispatched(1), 'dispatched';
        is scalar @told, 1,       'then it is told';
        is $told[0][0],  $stream, 'with the stream';
        is $told[0][1],  $why,    'and the reason';
        EventSource::XS->dispatch;
        $stream->on_close(sub { push @told, ['later', $_[1]] });
        is scalar @told, 1, 'once, and who asks too late waits too';
        ok dispatched(1), 'dispatched';
        is_deeply $told[1], ['later', $why], 'for the same reason';
    };
}

subtest 'a push in the middle of ends runs no callback' => sub {
    my @pairs = map { [Testing::StreamPair->open] } 1 .. 20;
    my $told  = 0;
    $_->[0]->on_close(sub { $told++ }) for @pairs;
    my $kept = pop @pairs;
    for (@pairs) { $_->[1]->leave }
    my $open = sub {
        scalar grep { $_->[0]->is_open } @pairs;
    };
    ok wait_until($DEADLINE, sub { $kept->[0]->write(": on\n\n") && !$open->() }), 'they have left during writes';
    is $told, 0, 'which have told nobody';
    ok dispatched(19), 'but dispatch does';
    is $told, 19, 'each once';
};

subtest 'several callbacks run in their order, one that dies stops none' => sub {
    my ($stream, $client) = Testing::StreamPair->open;
    my @told;
    $stream->on_close(sub { push @told, 'first' });
    $stream->on_close(sub { die "on purpose\n" });
    $stream->on_close(sub { push @told, 'third' });
    my @warned;
    local $SIG{__WARN__} = sub { push @warned, @_ };
    local $@ = 'of the caller';
    $stream->close;
    ok dispatched(3), 'dispatched';
    is_deeply \@told,   ['first', 'third'],                                 'in their order';
    is_deeply \@warned, ["EventSource::XS: a callback died: on purpose\n"], 'and the exception is a warning';
    is $@, 'of the caller', 'an exception of the caller stands';
};

subtest 'a callback may open and end streams' => sub {
    my ($stream, $client) = Testing::StreamPair->open;
    my @told;
    my @more;
    $stream->on_close(
        sub {
            @more = Testing::StreamPair->open;
            $more[0]->on_close(sub { push @told, "second by $_[1]" });
            push @told, "first by $_[1]";
            $more[0]->close;
        }
    );
    $stream->close;
    ok dispatched(2), 'dispatched';
    is_deeply \@told, ['first by application', 'second by application'], 'both are told';
};

subtest 'notify_fd is readable while there is something to tell' => sub {
    my $number = EventSource::XS->notify_fd;
    is(EventSource::XS->notify_fd, $number, 'it is one for the process');
    my @pairs = map { [Testing::StreamPair->open] } 1 .. 3;
    my $told  = 0;
    $_->[0]->on_close(sub { $told++ }) for @pairs[0, 1];
    ok !readable($number), 'quiet while streams are open';
    $pairs[2][0]->close;
    ok $pairs[2][1]->read_all, 'an end that nobody wants to know';
    ok !readable($number),     'does not raise it';
    $pairs[0][1]->leave;
    ok wait_until($DEADLINE, sub { readable($number) }), 'an end that is wanted does';
    ok readable($number),                                'until it is told';
    is(EventSource::XS->dispatch, 1, 'dispatch tells one');
    ok !readable($number), 'quiet again';
    $pairs[1][0]->close;
    ok wait_until($DEADLINE, sub { readable($number) }), 'and so on';
    EventSource::XS->dispatch;
    ok !readable($number), 'and on';
    is $told, 2, 'both were told';
};

subtest 'a callback does not keep its stream alive' => sub {
    my ($stream, $client) = Testing::StreamPair->open(is_loop => 0);
    my $conn = Plack::App::EventSource::Connection->new(stream => $stream);
    my @told;
    $conn->on_close(sub { push @told, "$_[1] " . ($_[0]->is_open ? 'open' : 'ended') });
    weaken $stream;
    undef $conn;
    ok $client->read_all, 'it ends with its connection';
    ok dispatched(1),     'dispatched';
    is_deeply \@told, ['application ended'], 'which is told';
    is $stream, undef, 'and nothing is left of it';
};

subtest 'a callback that waits is not for a child to run' => sub {
    my $ran = 0;
    my ($stream, $client) = Testing::StreamPair->open;
    $stream->close;
    ok $client->read_all,                                 "it has ended";
    ok wait_until($DEADLINE, sub { $stream->_want_end }), 'and has been seen to have';
    $stream->on_close(sub { $ran++ });    # what is asked now waits
    pipe my $from, my $to or die "pipe: $!";
    defined(my $pid = fork) or die "fork: $!";

    if (!$pid) {
        syswrite $to, EventSource::XS->dispatch . " $ran";
        POSIX::_exit(0);
    }
    close $to;
    is readline $from, '0 0', 'it runs nothing of its parent';
    waitpid $pid, 0;
    is(EventSource::XS->dispatch, 1, 'which does');
};

done_testing;
