# Idle streams cost nothing but their keepalives, and those wake the process a few times for all of them.

use strict;
use warnings;

use lib 't/lib';
use Testing::Developer    qw(needs only_developers);
use POSIX                 ();
use Testing::StreamServer qw(on_each_server);
use Test::More;

only_developers();

my $STREAMS = 1_000;

# A sixteenth of the quiet is rounded down to a power of two, so there are up to 32 such ticks in it, and one more.
my $TICKS = 33;

my $limit = POSIX::sysconf(POSIX::_SC_OPEN_MAX());
needs($limit < $STREAMS + 100 ? "a process may have only $limit descriptors here" : undef);

# What has woken the reactor, by its own count and by the kernel's, and the nanoseconds that it has used.
sub used {
    my $server = shift;
    my $task   = $server->proc('task/') . $server->reactor;
    open my $status, '<', "$task/status" or die "status: $!";
    my ($switches) = join('', readline $status) =~ /^voluntary_ctxt_switches:\s+([0-9]+)/m;
    open my $schedule, '<', "$task/schedstat" or die "schedstat: $!";
    my ($nanoseconds) = split / /, readline $schedule;
    return {wakeups => $server->stats->{wakeups}, switches => $switches, nanoseconds => $nanoseconds};
}

# What is used until a client has received so many more comments.
sub used_during {
    my ($server, $client, $comments) = @_;
    $client->{body} = '';
    $client->read_until(qr/^:\r\n/m);    # begins when one has come
    my $before = used($server);
    $client->{body} = '';
    ok $client->read_until(qr/(?:^:\r\n\r\n){$comments}/m, 30), "$comments comments come to one client";
    my $after = used($server);
    return {map { ($_ => $after->{$_} - $before->{$_}) } keys %$after};
}

on_each_server(
    sub {
        my $server = shift;
        my @silent = map { $server->stream(name => "silent$_", keepalive => 0) } 1 .. $STREAMS;
        my $clock  = $server->stream(name => 'clock', keepalive => 0.1);
        my $ticks  = 15;
        my $used   = used_during($server, $clock, $ticks);
        note explain $used;
        cmp_ok $used->{wakeups},              '<=', 2 * $ticks, "$STREAMS streams without keepalives wake no one";
        cmp_ok $used->{switches},             '<=', 2 * $ticks, 'as the kernel says, too';
        cmp_ok $used->{nanoseconds} / $ticks, '<',  2e6,        'and cost nothing';

        my @idle = map { $server->stream(name => "idle$_", keepalive => 0.5) } 1 .. $STREAMS;
        $clock->leave;
        $server->ended_ok('clock', 'client');
        my $bytes   = $server->stats->{bytes};
        my $periods = 4;
        $used = used_during($server, $idle[0], $periods);
        note explain $used;
        cmp_ok $server->stats->{bytes} - $bytes, '>=', 5 * ($periods - 1) * $STREAMS, 'comments come to all clients';
        cmp_ok $used->{wakeups},                 '<=', $TICKS * ($periods + 1),       'and cost some wake-ups for all';
        cmp_ok $used->{switches},                '<=', $TICKS * ($periods + 1),       'as the kernel says, too';
        is $server->stats->{native}, 2 * $STREAMS, 'all streams are open';
        $_->leave for @silent, @idle;
        $server->rests_ok;
    },
    'Starman'
);

done_testing;
