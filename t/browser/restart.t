# A page in a real browser follows a hub, and its connection is cut, its server killed, its history too short. It hears
# every number once, or is told that it has missed something: no number is missing without that, none comes twice.

use strict;
use warnings;

use lib 't/lib';
use Testing::Browser;
use Testing::CuttableProxy;
use HTTP::Tiny;
use JSON::PP qw(encode_json);
use Testing::Server;
use Test::More;

Testing::Browser->require_or_skip_all;
my $browser = Testing::Browser->start;

my %START = (
    'Starman'                   => ['Starman', workers => 1, args => [qw(--max-requests 1000000)]],
    'Twiggy'                    => ['Twiggy'],
    'Twiggy, by its own writer' => ['Twiggy'],
);

# What stands between these two numbers that the page hears one after the other, if that is as promised.
sub is_told {
    my ($before, $after, $told) = @_;
    return $told ? $after > $before : $after == $before + 1;
}

# What is wrong with what a page has heard: nothing, if each number follows that before it, or a gap is between them.
sub troubles {
    my @heard = @_;
    my ($last, $told, @troubles);
    for my $one (@heard) {
        if ($one !~ /\A[0-9]+\z/) { $told = $one; next }
        push @troubles, "$one after $last" . ($told ? " and '$told'" : '')
            if defined $last && !is_told($last, $one, $told);
        ($last, $told) = ($one, undef);
    }
    return @troubles;
}

is_deeply [troubles(1, 2, 'unknown', 4, 5)], [], 'a number that is told to be missing is no trouble';
is_deeply [troubles(1, 3, 'unknown', 3, 2)], ['3 after 1', "3 after 3 and 'unknown'", '2 after 3'],
    'one that is not, and one that comes twice, is';

# Publishes these numbers, and says whether the server has answered.
sub publish {
    my ($server, $from, $to, $bytes) = @_;
    my $query = sprintf 'from=%d&count=%d&bytes=%d', $from, $to - $from + 1, $bytes;
    return HTTP::Tiny->new(keep_alive => 0)->post($server->url("/publish?$query"))->{success};
}

sub heard { return @{$browser->evaluate('heard')} }

sub hears_ok {
    my ($number, $name) = @_;
    return $browser->wait_for("heard.at(-1) === $number", $name);
}

# Waits until the page has heard of number 1: before, it may not have been told yet where it is.
sub follows_ok {
    my $server = shift;
    $browser->wait_for('opened === 1', 'the page is there');
    publish($server, 1, 1, 50);
    return hears_ok(1, 'and follows');
}

# Runs a test on each server, with a hub of these settings.
sub on_each_server {
    my ($name, $hub, $test) = @_;
    for my $server (sort keys %START) {
        subtest "$server: $name" => sub {
            my ($class, %option) = @{$START{$server}};
            Testing::Server->require_or_skip_all($class);
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

on_each_server(
    'its connection is cut',
    {},
    sub {
        my $server = shift;
        my $cable  = Testing::CuttableProxy->start($server->port);
        $browser->open($cable->url('/'));
        follows_ok($server);
        my $last  = 1;
        my @where = (0, 1, 10, 33, map { int rand 18_000 } 1 .. 8);
        for my $round (0 .. $#where) {
            my ($cuts, $how) = ($cable->cuts, $round % 2 ? 'reset' : '');
            $cable->cut_after($where[$round], $how);
            my $from = $last + 1;
            $last += 40;
            ok publish($server, $from, $last, 500 + int rand 1_000), "cut after $where[$round] bytes, $how";
            hears_ok($last, "it hears of $last");
            cmp_ok $cable->cuts, '>', $cuts, 'and was cut meanwhile';
        }
        is_deeply [heard()], [1 .. $last], 'it has heard every number once, and of no gap';
        cmp_ok $browser->evaluate('opened'), '>', 4, 'although it had to come back';
    }
);

on_each_server(
    'it is cut off for longer than history goes back',
    {history => {events => 10}},
    sub {
        my $server = shift;
        my $cable  = Testing::CuttableProxy->start($server->port);
        $browser->open($cable->url('/'));
        follows_ok($server);
        publish($server, 2, 20, 50);
        hears_ok(20, 'it hears of all');
        $cable->hold;
        publish($server, 21, 50, 50);
        $cable->release;
        hears_ok(50, 'it comes back, and hears of what there is');
        my @expected = (1 .. 20, 'forgotten', 41 .. 50);
        is_deeply [heard()], \@expected, 'it was told that something is missing, before the rest';
        $cable->cut;
        publish($server, 51, 60, 50);
        hears_ok(60, 'cut again, it comes back');
        is_deeply [heard()],           [@expected, 51 .. 60], 'and is not told again';
        is_deeply [troubles(heard())], [],                    'each number came once, or was told to be missing';

        my $last  = 60;
        my @where = map { 300 + 25 * $_ } 0 .. 12;    # in the head, in the position, in the gap event, in what is left
        for my $bytes (@where) {
            $cable->hold;
            $cable->cut_after($bytes);
            publish($server, $last + 1, $last + 30, 50);
            $last += 30;
            $cable->release;
            hears_ok($last, "cut after $bytes bytes of its way back, it comes back once more");
        }
        is_deeply [troubles(heard())], [], 'and each number came once, or was told to be missing';
        my @told = grep { !/\A[0-9]+\z/ } heard();
        is scalar @told, 1 + @where, 'and it was told as often as something was missing';
        is_deeply [grep { !/\A(?:forgotten|unknown)\z/ } @told], [], 'of what, it knows unless it was cut just then';
    }
);

for my $signal (qw(KILL TERM)) {
    on_each_server(
        "its server is restarted by SIG$signal",
        {start => 'oldest'},
        sub {
            my $server = shift;
            $browser->open($server->url('/'));
            follows_ok($server);
            publish($server, 2, 20, 100);
            hears_ok(20, 'it hears of all');
            my ($last, @expected) = (20, 1 .. 20);
            for my $time ('once', 'twice') {
                publish($server, $last + 1, $last + 10, 100);
                $server->restart($signal);
                ok publish($server, $last + 11, $last + 40, 100), "the server is restarted $time";
                hears_ok($last + 40, 'the page comes back by itself');
                publish($server, $last + 41, $last + 50, 100);
                $last += 50;
                hears_ok($last, 'and follows');
            }
            my @heard = heard();
            is_deeply [troubles(@heard)],              [], 'each number came once, or was told to be missing';
            is_deeply [grep { !/\A[0-9]+\z/ } @heard], [('unknown') x 2], 'it was told once each time';
            my $told = 0;
            $told++ until $heard[$told] eq 'unknown';
            is_deeply [@heard[$told + 1 .. $told + 40]], [31 .. 70], 'and has heard everything of the new server';
        }
    );
}

done_testing;
