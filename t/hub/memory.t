# What a hub may cost in memory: its histories, and what is on its way to them, whatever is published.

use strict;
use warnings;

use EventSource::Hub;
use EventSource::XS;
use Test::More;

plan skip_all => 'it looks at /proc' if !-e '/proc/self/status';

# The most megabytes that this process has had.
sub most {
    open my $status, '<', '/proc/self/status' or die "status: $!";
    my ($kilobytes) = map { /\AVmHWM:\s+([0-9]+)/ ? $1 : () } readline $status;
    return $kilobytes / 1024;
}

my $MB = 1024 * 1024;

subtest 'large events' => sub {
    my $hub    = EventSource::Hub->new(history => {bytes => 8 * $MB}, total_history => {bytes => 16 * $MB});
    my $data   = 'x' x $MB;
    my $before = most();
    $hub->publish($_ % 4, $data) for 1 .. 1500;
    my $stats = $hub->stats;
    is $stats->{published}, 1500, 'all are published';
    cmp_ok $stats->{history}{bytes}, '<=', 16 * $MB,     'the histories are bounded';
    cmp_ok most() - $before,         '<',  64 + 16 + 60, 'and so is what is on its way to them';
};

subtest 'many small events' => sub {
    my $hub    = EventSource::Hub->new(history => {events => 100});
    my $before = most();
    $hub->publish(news => $_) for 1 .. 1_000_000;
    my $stats = $hub->stats;
    is_deeply [@$stats{qw(published channels)}, $stats->{history}{events}], [1_000_000, 1, 100],
        'all are published, a hundred are kept';
    cmp_ok most() - $before, '<', 64 + 100, 'what carries them counts as well';
};

subtest 'many channels' => sub {
    my $hub = EventSource::Hub->new(history => {events => 0});
    $hub->publish("node $_" => 'x') for 1 .. 200_000;
    is $hub->stats->{channels}, 0, 'a channel that nobody follows costs nothing';
    my $before = most();
    $hub->publish("node $_" => 'x') for 200_001 .. 600_000;
    $hub->stats;
    cmp_ok most() - $before, '<', 60, 'however many there were';
};

done_testing;
