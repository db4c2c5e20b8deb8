# Idle streams cost nothing but their keepalives, and those wake the process a few times for all of them.

use lib 't/lib';
use Testing;
use Testing::Developer    qw(needs);
use Testing::SourceTree   qw(slurp);
use POSIX                 ();
use Testing::StreamServer qw(on_each_server);

my $STREAMS = 1_000;

# A sixteenth of the quiet is rounded down to a power of two, so there are up to 32 such ticks in it, and one more.
my $TICKS = 33;

my $limit = POSIX::sysconf(POSIX::_SC_OPEN_MAX());
needs($limit < $STREAMS + 100 ? "a process may have only $limit descriptors here" : undef);

# Returns the wake-ups of the reactor, by its own count and by the kernel's, and the CPU time that it has used.
sub used {
    my $server        = shift;
    my $task          = $server->proc('task/') . $server->reactor;
    my ($switches)    = slurp("$task/status") =~ /^voluntary_ctxt_switches:\s+([0-9]+)/m;
    my ($nanoseconds) = split / /, slurp("$task/schedstat");
    return {wakeups => $server->stats->{wakeups}, switches => $switches, nanoseconds => $nanoseconds};
}

# Returns what the reactor uses until a client has received that many more comments.
sub used_during {
    my ($server, $client, $comments) = @_;
    $client->{body} = '';
    $client->read_until(qr/^:\r\n/m);    # start at a comment
    my $before = used($server);
    $client->{body} = '';
    ok $client->read_until(qr/(?:^:\r\n){$comments}/m, 30), "one client receives $comments comments";
    my $after = used($server);
    return {map { ($_ => $after->{$_} - $before->{$_}) } keys %$after};
}

on_each_server [qw(Starman)] => sub {
    my $server = shift;
    my @silent = map { $server->stream(name => "silent$_", keepalive => 0) } 1 .. $STREAMS;
    my $clock  = $server->stream(name => 'clock', keepalive => 0.1);
    my $ticks  = 15;
    my $used   = used_during($server, $clock, $ticks);
    note explain $used;
    cmp_ok $used->{wakeups},  '<=', 2 * $ticks,     "$STREAMS streams without keepalives do not wake the reactor";
    cmp_ok $used->{switches}, '<=', 2 * $ticks,     'the kernel counts as few wake-ups without keepalives';
    cmp_ok $used->{nanoseconds} / $ticks, '<', 2e6, "$STREAMS streams without keepalives use no CPU time";

    my @idle = map { $server->stream(name => "idle$_", keepalive => 0.5) } 1 .. $STREAMS;
    $clock->leave;
    $server->ended_ok('clock', 'client');
    my $bytes   = $server->stats->{bytes};
    my $periods = 4;
    $used = used_during($server, $idle[0], $periods);
    note explain $used;
    cmp_ok $server->stats->{bytes} - $bytes, '>=', 3 * ($periods - 1) * $STREAMS, 'all clients receive comments';
    cmp_ok $used->{wakeups},  '<=', $TICKS * ($periods + 1), "keepalives of $STREAMS streams share their wake-ups";
    cmp_ok $used->{switches}, '<=', $TICKS * ($periods + 1), 'the kernel counts as few wake-ups with keepalives';
    is $server->stats->{native}, 2 * $STREAMS, 'all streams stay open';
    $_->leave for @silent, @idle;
    $server->rests_ok;
};

done_testing;
