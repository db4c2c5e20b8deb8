# A hub that drains: its streams end spread over a time, told when to come back.

use strict;
use warnings;

use lib 't/lib';
use Testing::Deadline qw(wait_until);
use EventSource::XS;
use Test::More;
BEGIN { plan skip_all => 'there are no hubs on this system' if !EventSource::XS->can('_next_end') }
use EventSource::Hub;
use Testing::Subscriber qw(blocks);
use List::Util          qw(max min uniq);
use Testing::StreamPair;
use Time::HiRes qw(time);

my $DEADLINE = 10;    # seconds
my $STREAMS  = 20;

sub has_ended {
    my $client = shift->client;
    $client->read_until(qr{\z.^}, 0.001);
    return $client->ended;
}

# The time at which each has ended, as its client sees it.
sub ends {
    my @followers = @_;
    my %end;
    wait_until(
        $DEADLINE,
        sub {
            for my $follower (grep { !$end{$_} } @followers) {
                $end{$follower} = time if has_ended($follower);
            }
            return keys %end == @followers;
        }
    ) or fail 'all end';
    return map { $end{$_} } @followers;
}

# Those that have ended when the first has.
sub first_to_end {
    my @followers = @_;
    my @ended;
    wait_until(
        $DEADLINE,
        sub {
            @ended = grep { has_ended($_) } @followers;
        }
    ) or fail 'one ends';
    return @ended;
}

sub retry_of {
    return (map { $_->{retry} // () } blocks($_[0]->client->text))[-1];
}

subtest 'ends are spread' => sub {
    my $hub       = EventSource::Hub->new;
    my @followers = map { Testing::Subscriber->open($hub, 'a', {stream => {retry => 1_000}}) } 1 .. $STREAMS;
    $hub->publish(a => 'before');
    my @why;
    my $told = 0;
    $followers[0]->conn->on_close(sub { push @why, $_[1] });
    my $seconds = 1;
    my $begin   = time;
    is_deeply [$hub->drain($seconds)], [], 'drain returns nothing';
    cmp_ok time - $begin, '<', $seconds / 2, 'at once';
    my $during = $hub->publish(a => 'during');
    my @ends   = map { $_ - $begin } ends(@followers);
    cmp_ok max(@ends),              '<=', $seconds + 1,   'all end within the time';
    cmp_ok max(@ends) - min(@ends), '>=', 0.7 * $seconds, 'over most of it';
    my $together = max(
        map {
            my $end = $_;
            scalar grep { abs($end - $_) < 0.1 * $seconds } @ends
        } @ends
    );
    cmp_ok $together, '<=', $STREAMS / 2, 'not all together';
    my @retries = map { retry_of($_) } @followers;
    is_deeply [grep { $_ < 1_000 || $_ > 2_000 } @retries], [],
        'each is told to come back in one to two times what is set';
    cmp_ok scalar uniq(@retries), '>', $STREAMS / 2, 'at a time of its own';
    my @during = grep { $_->client->text =~ /^data: during$/m } @followers;
    cmp_ok scalar @during, '>=', $STREAMS - 2, 'what is published meanwhile comes to those that are still there';
    is_deeply [uniq(map { ($_->last_id =~ /-([0-9]+)\z/) ? $1 : 'none' } @during)], [2], 'and each knows its place';
    ok wait_until($DEADLINE, sub { EventSource::XS->dispatch; @why }), 'on_close is told';
    is_deeply \@why, ['server'], 'that it was the server';
    is $hub->stats->{streams}, 0, 'none is left';
};

subtest 'at once' => sub {
    my $hub       = EventSource::Hub->new;
    my @followers = map { Testing::Subscriber->open($hub, 'a') } 1 .. $STREAMS;
    my $begin     = time;
    $hub->drain(0);
    cmp_ok max(ends(@followers)) - $begin, '<', 2, 'all end';
    is_deeply [grep { $_ < 2_000 || $_ > 4_000 } map { retry_of($_) } @followers], [],
        'told to come back in two to four seconds, by default';
};

subtest 'who comes later' => sub {
    my $hub       = EventSource::Hub->new;
    my @followers = map { Testing::Subscriber->open($hub, 'a') } 1, 2;
    $hub->drain(3_600);
    my $late = Testing::Subscriber->open($hub, 'a', {last_event_id => $hub->epoch . '-0'});
    ok $late->client->read_all, 'is sent away at once';
    like retry_of($late), qr/\A[0-9]+\z/, 'told when to come back';
    is $late->client->status, 200, 'after a response that a browser takes';
    like $hub->publish(a => 'x'), qr/-1\z/, 'the hub still publishes';
    my ($gone) = first_to_end(@followers);          # at once; of two streams either
    my ($left) = grep { $_ != $gone } @followers;
    is_deeply [$left->data(1)], ['x'], 'to who is there';
    $hub->drain(0);
    ends($left);
};

subtest 'others are not concerned' => sub {
    my ($hub, $other) = map { EventSource::Hub->new } 1, 2;
    my $stays = Testing::Subscriber->open($other, 'a');
    my ($plain, $client) = Testing::StreamPair->open;
    my $goes = Testing::Subscriber->open($hub, 'a');
    $hub->drain(0);
    ends($goes);
    $other->publish(a => 'x');
    is_deeply [$stays->data(1)], ['x'], 'streams of another hub';
    ok $plain->write("data: y\n\n"),     'nor those of none';
    ok $client->read_until(qr/data: y/), 'go on';
};

subtest 'twice' => sub {
    my $hub       = EventSource::Hub->new;
    my @followers = map { Testing::Subscriber->open($hub, 'a') } 1 .. 5;
    my $begin     = time;
    $hub->drain(3_600);
    $hub->drain(0.2);
    cmp_ok max(ends(@followers)) - $begin, '<', 5, 'the shorter time counts';
    is scalar(() = $followers[-1]->client->text =~ /^retry:/mg), 1, 'and each is told once';
};

subtest 'none' => sub {
    my $hub = EventSource::Hub->new;
    ok eval { $hub->drain(5); 1 }, 'without streams';
    is $hub->stats->{streams}, 0, 'nothing happens';
};

done_testing;
