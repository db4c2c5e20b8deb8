# Slow clients of a hub: each policy of on_slow with full sockets, beside clients that read.

use lib 't/lib';
use Testing;
use Testing::Subscriber qw(blocks);
use Testing::HubServer;
use List::Util              qw(max);
use Testing::NumberedEvents ();
use Testing::SlowReader;

my $BYTES   = 20_000;
my $COUNT   = 500;              # 10 MB, more than the sockets buffer
my %HISTORY = (events => 50);

# The kinds of streams: a name, the server, its options, the path.
my @WAYS = grep { Testing::Server->tested($_->[1]) } (
    ['HTTP::Server::PSGI, native', 'HTTP::Server::PSGI', {},            '/hub'],
    ['Twiggy, native',             'Twiggy',             {},            '/hub'],
    ["Twiggy, its writer",         'Twiggy',             {native => 0}, '/hub'],
    ['Twiggy, filtered',           'Twiggy',             {},            '/filtered'],
    ["Feersum, its writer",        'Feersum',            {native => 0}, '/hub'],
);

# The numbers of events. Dies if an event is not whole.
sub numbers {
    my @blocks = @_;
    my @numbers;
    for my $block (grep { defined $_->{data} && !defined $_->{event} } @blocks) {
        my ($number) = $block->{data} =~ /\A([0-9]+)\./ or die "no number: $block->{data}\n";
        my $data = Testing::NumberedEvents::numbered($number, length $block->{data})->{data};
        die "event $number is not whole\n" if $block->{data} ne $data;
        push @numbers, $number;
    }
    return @numbers;
}

sub gaps {
    return grep { ($_->{event} // '') eq 'gap' } @_;
}

# Publishes in portions, so that a client that reads can keep up.
sub publish_all {
    my ($server, $reader, %query) = @_;
    for my $portion (0 .. $COUNT / 20 - 1) {
        my $last = 20 * $portion + 20;
        $server->publish(channel => 'a', count => 20, from => 20 * $portion + 1, bytes => $BYTES, %query);
        $reader->read_until(qr/^data: $last\..*\nid: .+\n\n/m)
            or return fail "portion $portion came to the one who reads";
        push @{$reader->{numbers}}, numbers(blocks($reader->text));
        $reader->{body} = '';
    }
    return is_deeply $reader->{numbers}, [1 .. $COUNT], 'a client that reads receives all events in order';
}

# The largest number of events left out in one place. A stream may be overtaken more than once, and may have room for all of
# the last events: the kernel buffers more and more for a client that does not read.
sub most_left_out {
    my @numbers = @_;
    return max(map { $numbers[$_] - $numbers[$_ - 1] } 1 .. $#numbers);
}

sub with_slow_reader {
    my ($way, $settings, $test) = @_;
    my ($name, $server_name, $option, $path) = @$way;
    subtest $name => sub {
        my $server =
            Testing::HubServer->start($server_name, %$option, settings => {keep_history => \%HISTORY, %$settings});
        my $reader = $server->stream($path, channels => 'a');
        my $slow   = $server->stream($path, channels => 'a', class => 'Testing::SlowReader');
        $test->($server, $slow, $reader, $path);
        $_->leave for $reader, $slow;
        $server->stats_ok(sub { !$_->{streams} && !$_->{streams_all}{open} },
            'no stream is left when the clients have left');
        is $server->ask('/plain'), 'plain', 'the server answers a plain request afterwards';
    };
    return;
}

# Lets the slow client read to the newest event; returns what it received.
sub receives_in_order_ok {
    my ($server, $slow) = @_;
    is $server->stats->{streams}, 2, 'both streams stay open';
    ok $slow->read_until(qr/^data: $COUNT\..*\nid: .+\n\n/m), 'the slow client receives the newest event when it reads';
    my @blocks  = blocks($slow->text);
    my @numbers = numbers(@blocks);
    is_deeply \@numbers, [sort { $a <=> $b } @numbers], 'the events of the slow client are whole and in order';
    return @blocks;
}

subtest "on_slow 'disconnect'" => sub {
    with_slow_reader $_, {retry => 5}, sub {
        my ($server, $slow, $reader, $path) = @_;
        publish_all($server, $reader);
        $server->stats_ok(sub { $_->{slow}{disconnect} == 1 && $_->{streams} == 1 },
            'the stream of the slow client ends');
        $slow->read_all;
        ok $slow->ended, 'the connection of the slow client ends';
        my @blocks = blocks($slow->text);
        my @first  = numbers(@blocks);
        is_deeply \@first, [1 .. @first], 'the events of the slow client are whole and in order';
        cmp_ok @first + 0, '<', $COUNT, 'the slow client has not received all events';
        is scalar gaps(@blocks), 0, 'the stream that ends has no gap';
        my $back = $server->stream($path, channels => 'a', id => $blocks[-1]{id});
        $back->read_until(qr/^data: $COUNT\..*\nid: .+\n\n/m);
        @blocks = blocks($back->text);
        is scalar gaps(@blocks), 1, 'the slow client receives a gap when it reconnects';
        is_deeply [numbers(@blocks)], [$COUNT - 49 .. $COUNT],
            'the slow client receives the retained events when it reconnects';
        is $server->stats->{streams_all}{closed}{slow}, 1, 'the stream is counted as closed with the reason slow';
        }
        for @WAYS;
};

subtest "on_slow 'gap'" => sub {
    with_slow_reader $_, {on_slow => 'gap', gap_event => 'gap'}, sub {
        my ($server, $slow, $reader) = @_;
        publish_all($server, $reader);
        my @blocks = receives_in_order_ok($server, $slow);
        my @gaps   = gaps(@blocks);
        cmp_ok @gaps + 0, '>=', 1, 'the slow client receives a gap';
        is $gaps[0]{data}, '{"reason":"slow"}', 'the reason of the gap is slow';
        my ($holes, $told, $last) = (0, 0, 0);

        for my $block (grep { defined $_->{data} } @blocks) {
            if (($block->{event} // '') eq 'gap') { $told = 1; next }
            my ($number) = $block->{data} =~ /\A([0-9]+)/;
            if ($number != $last + 1) { $holes++; $told or fail "a hole before $number was not told" }
            ($last, $told) = ($number, 0);
        }
        cmp_ok $holes, '>=', 1, 'the events of the slow client have a hole';
        my $stats = $server->stats;
        cmp_ok $stats->{slow}{gap}, '>=', 1, 'the hub counts the overtaken stream';
        is $stats->{slow}{gap}, $stats->{gaps}, 'the hub counts the same number of gaps';
        $server->publish(channel => 'a', from => $COUNT + 1);
        my $next = $COUNT + 1;
        ok $slow->read_until(qr/^data: $next\n|^data: $next\./m), 'the slow client receives the next event';
        }
        for @WAYS;
};

subtest "on_slow 'latest'" => sub {
    with_slow_reader $_, {on_slow => 'latest'}, sub {
        my ($server, $slow, $reader) = @_;
        publish_all($server, $reader, keys => 5);
        my @blocks  = receives_in_order_ok($server, $slow);
        my @numbers = numbers(@blocks);
        is_deeply [@numbers[-5 .. -1]], [$COUNT - 4 .. $COUNT],
            'the last events of the slow client are the newest of each of five keys';
        cmp_ok most_left_out(@numbers), '>', 50, 'older events of the keys are left out';
        is scalar gaps(@blocks), 0, 'the slow client receives no gap';
        cmp_ok $server->stats->{slow}{latest}, '>=', 1, 'the hub counts the overtaken stream';
        $server->publish(channel => 'a', from => $COUNT + 1, count => 3);
        my $next = $COUNT + 3;
        ok $slow->read_until(qr/^data: $next\./m), 'the slow client receives the next events';
        is_deeply [(numbers(blocks($slow->text)))[-4 .. -1]], [$COUNT .. $COUNT + 3],
            'the slow client receives every event after it has caught up';
        }
        for @WAYS;
};

subtest 'on_slow latest keeps the latest event of a channel without keys' => sub {
    with_slow_reader $WAYS[0], {on_slow => 'latest'}, sub {
        my ($server, $slow, $reader) = @_;
        publish_all($server, $reader);
        ok $slow->read_until(qr/^data: $COUNT\..*\nid: .+\n\n/m),
            'the slow client receives the newest event when it reads';
        my @numbers = numbers(blocks($slow->text));
        is $numbers[-1], $COUNT, 'the newest event is the last one of the slow client';
        cmp_ok most_left_out(@numbers), '>', 50, 'older events of the channel are left out';
    };
};

subtest 'on_slow of the channels that a stream lags in decides' => sub {
    my %channels = (a => {on_slow => 'gap'}, 'b*' => {on_slow => 'latest'});
    my $server   = Testing::HubServer->start('HTTP::Server::PSGI',
        settings => {keep_history => \%HISTORY, per_channel => \%channels, retry => 5});
    my %slow = map { ($_ => $server->stream('/hub', channels => $_, class => 'Testing::SlowReader')) } 'a', 'b1', 'c',
        'a,b1', 'a,c';
    for my $channel (qw(a b1 c)) {
        $server->publish(channel => $channel, count => $COUNT, bytes => $BYTES);
    }

    # A stream with a full socket ends when an event comes that is later than the eviction.
    my $have_ended = sub {
        $server->publish(channel => 'c');
        my $stats = $server->stats;
        return $stats->{slow}{disconnect} == 2 && $stats->{streams} == 3;
    };
    ok wait_until($DEADLINE, $have_ended), 'the streams that lag in the channel of which nothing else is said end'
        or diag explain $server->stats;
    for my $channels (sort keys %slow) {
        my $client = $slow{$channels};
        if ($channels =~ /c/) {
            $client->read_all;
            ok $client->ended, "$channels: ends";
            is scalar gaps(blocks($client->text)), 0, "$channels: without a gap" if $channels eq 'c';
            next;
        }
        ok $client->read_until(
            qr/^data: $COUNT\..*\nid: .+-${\($channels =~ m{b1} ? 2 * $COUNT : $COUNT)}\n\n/m, $DEADLINE
            ),
            "$channels: the newest event comes";
        my @gaps = gaps(blocks($client->text));
        is @gaps > 0, $channels =~ /a/, "$channels: a gap if it lags in the channel whose streams receive one";
        $client->leave;
    }
};

# Otherwise the client could keep the server waiting for as long as it likes, by not reading its buffered data.
subtest 'a client that never reads is disconnected' => sub {
    for my $way (@WAYS) {
        my ($name, $server_name, $option, $path) = @$way;
        subtest $name => sub {
            my $server = Testing::HubServer->start($server_name, %$option, settings => {keep_history => \%HISTORY});
            $server->stream($path, channels => 'a')->leave;
            $server->stats_ok(sub { !$_->{streams} && !$_->{streams_all}{open} }, 'a first stream has begun and ended');
            $server->publish(channel => 'a', count => 3);    # a named hub has two connections then
            my $before  = $server->stats->{descriptors};
            my $slow    = $server->stream($path, channels => 'a', class => 'Testing::SlowReader');
            my $is_over = sub {
                $server->publish(channel => 'a', count => 100, bytes => $BYTES);
                $server->stats->{slow}{disconnect};
            };
            ok wait_until($DEADLINE, $is_over), 'the stream of a client that never reads is overtaken';
            $server->stats_ok(sub { $_->{descriptors} <= $before },
                'the stream of a client that never reads has released its descriptors');
            $slow->leave;
        };
    }
};

done_testing;
