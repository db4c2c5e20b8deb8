# Slow readers of a hub: each policy with real sockets that are full, beside others that read.

use strict;
use warnings;

use lib 't/lib';
use Testing::Developer  qw(needs only_developers);
use Testing::Deadline   qw(wait_until);
use Testing::Subscriber qw(blocks);
use Testing::HubServer;
use List::Util              qw(max);
use Testing::NumberedEvents ();
use Testing::Server;
use Testing::SlowReader;
use Test::More;

only_developers();

my $DEADLINE = 20;               # seconds
my $BYTES    = 20_000;
my $COUNT    = 500;              # 10 MB, more than sockets hold
my %HISTORY  = (events => 50);

# Ways to a stream that a hub writes to: the server, its options, the path.
my @WAYS = (
    ['HTTP::Server::PSGI, native', 'HTTP::Server::PSGI', {},            '/hub'],
    ['Twiggy, native',             'Twiggy',             {},            '/hub'],
    ["Twiggy, its writer",         'Twiggy',             {native => 0}, '/hub'],
    ['Twiggy, filtered',           'Twiggy',             {},            '/filtered'],
    ["Feersum, its writer",        'Feersum',            {native => 0}, '/hub'],
);

# Events that are whole: an array of numbers, and dies if one is not.
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

# Publishes by portions, which a reader that is not slow keeps up with.
sub publish_all {
    my ($server, $reader, %query) = @_;
    for my $portion (0 .. $COUNT / 20 - 1) {
        my $last = 20 * $portion + 20;
        $server->publish(channel => 'a', count => 20, from => 20 * $portion + 1, bytes => $BYTES, %query);
        $reader->read_until(qr/^data: $last\..*\n\n/m, $DEADLINE)
            or return fail "portion $portion came to the one who reads";
        push @{$reader->{numbers}}, numbers(blocks($reader->text));
        $reader->{body} = '';
    }
    return is_deeply $reader->{numbers}, [1 .. $COUNT], 'its neighbour gets all, in order';
}

# How far it is from one number to the next where most are left out. It may be overtaken more than once, and have room for
# all of the last events: how much the kernel holds for a client that does not read grows with time.
sub most_left_out {
    my @numbers = @_;
    return max(map { $numbers[$_] - $numbers[$_ - 1] } 1 .. $#numbers);
}

sub with_slow_reader {
    my ($way, $settings, $test) = @_;
    my ($name, $server_name, $option, $path) = @$way;
    subtest $name => sub {
        needs(Testing::Server->missing($server_name));
        my $server = Testing::HubServer->start($server_name, %$option, settings => {history => \%HISTORY, %$settings});
        my $reader = $server->stream($path, channels => 'a');
        my $slow   = $server->stream($path, channels => 'a', class => 'Testing::SlowReader');
        $test->($server, $slow, $reader, $path);
        $_->leave for $reader, $slow;
        $server->stats_ok(sub { !$_->{streams} && !$_->{streams_all}{open} }, 'no stream is left');
        is $server->ask('/plain'), 'plain', 'and the server serves';
        $server->stop;
    };
    return;
}

subtest "on_slow 'disconnect'" => sub {
    with_slow_reader(
        $_,
        {retry => 5},
        sub {
            my ($server, $slow, $reader, $path) = @_;
            publish_all($server, $reader);
            $server->stats_ok(sub { $_->{slow}{disconnect} == 1 && $_->{streams} == 1 }, 'the slow one is ended');
            $slow->read_all($DEADLINE);
            ok $slow->ended, 'its connection too';
            my @blocks = blocks($slow->text);
            my @first  = numbers(@blocks);
            is_deeply \@first, [1 .. @first], 'what it got is whole and in order';
            cmp_ok @first + 0, '<', $COUNT, 'but not all';
            is scalar gaps(@blocks), 0, 'it is told of nothing yet';
            my $back = $server->stream($path, channels => 'a', id => $blocks[-1]{id});
            $back->read_until(qr/^data: $COUNT\..*\n\n/m, $DEADLINE);
            @blocks = blocks($back->text);
            is scalar gaps(@blocks), 1, 'it comes back and is told of a gap';
            is_deeply [numbers(@blocks)], [$COUNT - 49 .. $COUNT], 'and gets what is left';
            is $server->stats->{streams_all}{closed}{slow}, 1, 'it ended as slow';
            $back->leave;
        }
    ) for @WAYS;
};

subtest "on_slow 'gap'" => sub {
    with_slow_reader(
        $_,
        {on_slow => 'gap', gap_event => 'gap'},
        sub {
            my ($server, $slow, $reader) = @_;
            publish_all($server, $reader);
            is $server->stats->{streams}, 2, 'both are there';
            ok $slow->read_until(qr/^data: $COUNT\..*\n\n/m, $DEADLINE), 'when it reads it gets the newest';
            my @blocks  = blocks($slow->text);
            my @numbers = numbers(@blocks);
            is_deeply \@numbers, [sort { $a <=> $b } @numbers], 'what it got is whole and in order';
            my @gaps = gaps(@blocks);
            cmp_ok @gaps + 0, '>=', 1, 'it is told of a gap';
            is $gaps[0]{data}, '{"reason":"slow"}', 'and why';
            my ($holes, $told, $last) = (0, 0, 0);

            for my $block (grep { defined $_->{data} } @blocks) {
                if (($block->{event} // '') eq 'gap') { $told = 1; next }
                my ($number) = $block->{data} =~ /\A([0-9]+)/;
                if ($number != $last + 1) { $holes++; $told or fail "a hole before $number was not told" }
                ($last, $told) = ($number, 0);
            }
            cmp_ok $holes, '>=', 1, 'where something is missing';
            my $stats = $server->stats;
            cmp_ok $stats->{slow}{gap}, '>=', 1, 'that is counted';
            is $stats->{slow}{gap}, $stats->{gaps}, 'as gaps too';
            $server->publish(channel => 'a', from => $COUNT + 1);
            my $next = $COUNT + 1;
            ok $slow->read_until(qr/^data: $next\n|^data: $next\./m, $DEADLINE), 'it goes on';
        }
    ) for @WAYS;
};

subtest "on_slow 'newest'" => sub {
    with_slow_reader(
        $_,
        {on_slow => 'newest'},
        sub {
            my ($server, $slow, $reader) = @_;
            publish_all($server, $reader, keys => 5);
            is $server->stats->{streams}, 2, 'both are there';
            ok $slow->read_until(qr/^data: $COUNT\..*\n\n/m, $DEADLINE), 'when it reads it gets the newest';
            my @blocks  = blocks($slow->text);
            my @numbers = numbers(@blocks);
            is_deeply \@numbers,            [sort { $a <=> $b } @numbers], 'what it got is whole and in order';
            is_deeply [@numbers[-5 .. -1]], [$COUNT - 4 .. $COUNT],        'the newest of each of five keys last';
            cmp_ok most_left_out(@numbers), '>', 50, 'and some time nothing between these and what was on its way';
            is scalar gaps(@blocks), 0, 'that is no gap';
            cmp_ok $server->stats->{slow}{newest}, '>=', 1, 'it is counted';
            $server->publish(channel => 'a', from => $COUNT + 1, count => 3);
            my $next = $COUNT + 3;
            ok $slow->read_until(qr/^data: $next\./m, $DEADLINE), 'it goes on';
            is_deeply [(numbers(blocks($slow->text)))[-4 .. -1]], [$COUNT .. $COUNT + 3], 'with all again';
        }
    ) for @WAYS;
};

subtest 'of a channel without keys the newest event' => sub {
    with_slow_reader(
        $WAYS[0],
        {on_slow => 'newest'},
        sub {
            my ($server, $slow, $reader) = @_;
            publish_all($server, $reader);
            ok $slow->read_until(qr/^data: $COUNT\..*\n\n/m, $DEADLINE), 'when it reads it gets the newest';
            my @numbers = numbers(blocks($slow->text));
            is $numbers[-1], $COUNT, 'and that is the last';
            cmp_ok most_left_out(@numbers), '>', 50, 'and none of those before';
        }
    );
};

# What it has been written and not read would keep the server waiting for as long as it likes.
subtest 'a client that never reads is let go of' => sub {
    for my $way (@WAYS) {
        my ($name, $server_name, $option, $path) = @$way;
        subtest $name => sub {
            needs(Testing::Server->missing($server_name));
            my $server = Testing::HubServer->start($server_name, %$option, settings => {history => \%HISTORY});
            $server->stream($path, channels => 'a')->leave;
            $server->stats_ok(sub { !$_->{streams} && !$_->{streams_all}{open} }, 'a first one has come and gone');
            my $before  = $server->stats->{descriptors};
            my $slow    = $server->stream($path, channels => 'a', class => 'Testing::SlowReader');
            my $is_over = sub {
                $server->publish(channel => 'a', count => 100, bytes => $BYTES);
                $server->stats->{slow}{disconnect};
            };
            ok wait_until($DEADLINE, $is_over), 'one that never reads is overtaken';
            $server->stats_ok(sub { $_->{descriptors} <= $before }, 'and holds nothing any more');
            $slow->leave;
            $server->stop;
        };
    }
};

done_testing;
