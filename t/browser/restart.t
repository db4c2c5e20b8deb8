# A page in a real browser receives the numbers of a hub while its connection is cut, its server is killed, and its history is
# too short. It receives each number once, and a gap event wherever numbers are missing.

use lib 't/lib';
use Testing qw(Browser);
use Testing::CuttableProxy;
use HTTP::Tiny;
use JSON::PP qw(encode_json);
use Testing::Server;

my $browser = Testing::Browser->start;

# The one worker of Starman waits for the request of each connection that a browser opens ahead.
my %START = (
    'Starman'                   => ['Starman', workers => 1, args => [qw(--read-timeout 1)]],
    'Twiggy'                    => ['Twiggy'],
    'Twiggy, by its own writer' => ['Twiggy'],
);

# True if two consecutive numbers of the page are as promised: a number may be missing only after a gap event.
sub is_allowed {
    my ($before, $after, $gap) = @_;
    return $gap ? $after > $before : $after == $before + 1;
}

# The violations in what a page has received: numbers that are missing without a gap event, or that were received twice.
sub violations {
    my @received = @_;
    my ($last, $gap, @violations);
    for my $one (@received) {
        if ($one !~ /\A[0-9]+\z/) { $gap = $one; next }
        push @violations, "$one after $last" . ($gap ? " and '$gap'" : '')
            if defined $last && !is_allowed($last, $one, $gap);
        ($last, $gap) = ($one, undef);
    }
    return @violations;
}

is_deeply [violations(1, 2, 'unknown', 4, 5)], [], 'a missing number after a gap event is not a violation';
is_deeply [violations(1, 3, 'unknown', 3, 2)], ['3 after 1', "3 after 3 and 'unknown'", '2 after 3'],
    'a missing number without a gap event and a duplicate are violations';

# Publishes these numbers. Returns true if the server has answered.
sub publish {
    my ($server, $from, $to, $bytes) = @_;
    my $query = sprintf 'from=%d&count=%d&bytes=%d', $from, $to - $from + 1, $bytes;
    return HTTP::Tiny->new(keep_alive => 0)->post($server->url("/publish?$query"))->{success};
}

sub received { return @{$browser->evaluate('received')} }

sub receives_ok {
    my ($number, $name) = @_;
    return $browser->wait_for("received.at(-1) === $number", $name);
}

# Waits until the page has received number 1: before that it may not have received its position.
sub first_number_ok {
    my $server = shift;
    $browser->wait_for('opened === 1', 'the page has opened its stream');
    publish($server, 1, 1, 50);
    return receives_ok(1, 'the page receives the first number');
}

# Runs a test on each server, with a hub of these settings.
sub on_each_server {
    my ($name, $hub, $test) = @_;
    for my $server (sort keys %START) {
        subtest "$server: $name" => sub {
            my ($class, %option) = @{$START{$server}};
            my %setting = (%$hub, $server =~ /own writer/ ? (native => 0) : ());
            $test->(
                Testing::Server->start(
                    $class, 't/browser/numbers.psgi', %option, env => {HUB => encode_json(\%setting)}
                )
            );
            $browser->open('about:blank');
        };
    }
    return;
}

on_each_server 'a page whose connection is cut receives each number once', {} => sub {
    my $server = shift;
    my $cable  = Testing::CuttableProxy->start($server->port);
    $browser->open($cable->url('/'));
    first_number_ok($server);
    my $last  = 1;
    my @where = (0, 1, 10, 33, map { int rand 18_000 } 1 .. 8);
    for my $round (0 .. $#where) {
        my ($cuts, $how) = ($cable->cuts, $round % 2 ? 'reset' : '');
        $cable->cut_after($where[$round], $how);
        my $from = $last + 1;
        $last += 40;
        ok publish($server, $from, $last, 500 + int rand 1_000),
            "numbers are published while the connection is cut after $where[$round] bytes $how";
        receives_ok($last, "the page receives number $last");
        cmp_ok $cable->cuts, '>', $cuts, 'the connection was cut during the round';
    }
    is_deeply [received()], [1 .. $last], 'the page has received every number once, and no gap event';
    cmp_ok $browser->evaluate('opened'), '>', 4, 'the page has reconnected several times';
};

my %short = (keep_history => {events => 10});
on_each_server 'a page that was disconnected for longer than the history receives a gap event', \%short => sub {
    my $server = shift;
    my $cable  = Testing::CuttableProxy->start($server->port);
    $browser->open($cable->url('/'));
    first_number_ok($server);
    publish($server, 2, 20, 50);
    receives_ok(20, 'the page receives all numbers before it is cut off');
    $cable->hold;
    publish($server, 21, 50, 50);
    $cable->release;
    receives_ok(50, 'the page reconnects and receives what is left');
    my @expected = (1 .. 20, 'evicted', 41 .. 50);
    is_deeply [received()], \@expected, 'the gap event precedes the remaining numbers';
    $cable->cut;
    publish($server, 51, 60, 50);
    receives_ok(60, 'the page reconnects after another cut');
    is_deeply [received()],             [@expected, 51 .. 60], 'the page receives no second gap event';
    is_deeply [violations(received())], [], 'each number was received once or is missing after a gap event';

    my $last  = 60;
    my @where = map { 300 + 25 * $_ } 0 .. 12;    # in the head, the position, the gap event, or the remaining events
    for my $bytes (@where) {
        $cable->hold;
        $cable->cut_after($bytes);
        publish($server, $last + 1, $last + 30, 50);
        $last += 30;
        $cable->release;
        receives_ok($last, "the page reconnects when it is cut $bytes bytes after reconnecting");
    }
    is_deeply [violations(received())], [], 'each number was received once or is missing after a gap event';
    my @gaps = grep { !/\A[0-9]+\z/ } received();
    is scalar @gaps, 1 + @where, 'the page has received a gap event for each loss';
    is_deeply [grep { !/\A(?:evicted|unknown)\z/ } @gaps], [],
        'the reason of a gap is "evicted", or "unknown" after a cut in between';
};

for my $signal (qw(KILL TERM)) {
    on_each_server "a page whose server is restarted by SIG$signal receives a gap event", {start => 'oldest'} => sub {
        my $server = shift;
        $browser->open($server->url('/'));
        first_number_ok($server);
        publish($server, 2, 20, 100);
        receives_ok(20, 'the page receives all numbers before it is cut off');
        my ($last, @expected) = (20, 1 .. 20);
        for my $time ('once', 'twice') {
            publish($server, $last + 1, $last + 10, 100);
            $server->restart($signal);
            ok publish($server, $last + 11, $last + 40, 100), "the server answers after it was restarted $time";
            receives_ok($last + 40, 'the page reconnects by itself');
            publish($server, $last + 41, $last + 50, 100);
            $last += 50;
            receives_ok($last, 'the page receives the last number');
        }
        my @received = received();
        is_deeply [violations(@received)], [], 'each number was received once or is missing after a gap event';
        is_deeply [grep { !/\A[0-9]+\z/ } @received], [('unknown') x 2],
            'the page has received one gap event for each restart';
        my $gap = 0;
        $gap++ until $received[$gap] eq 'unknown';
        is_deeply [@received[$gap + 1 .. $gap + 40]], [31 .. 70],
            'the page has received every number of the restarted server';
    };
}

done_testing;
