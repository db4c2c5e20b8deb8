# The memory of a hub: its histories and the events on their way to the native thread are bounded.

use lib 't/lib';
use Testing;
use EventSource::Hub;
use EventSource::XS;
use Testing::Process qw(memory_of);

plan skip_all => 'there is no /proc on this system' if !-e '/proc/self/status';

# The peak of this process's resident memory, in megabytes.
sub most { return (memory_of($$))[1] }

my $MB = 1024 * 1024;

subtest '1,500 events of a megabyte' => sub {
    my $hub    = EventSource::Hub->new(history => {bytes => 8 * $MB}, total_history => {bytes => 16 * $MB});
    my $data   = 'x' x $MB;
    my $before = most();
    $hub->publish($_ % 4, $data) for 1 .. 1500;
    my $stats = $hub->stats;
    is $stats->{published}, 1500, 'all large events are published';
    cmp_ok $stats->{history}{bytes}, '<=', 16 * $MB,     'total_history bounds the retained bytes of large events';
    cmp_ok most() - $before,         '<',  64 + 16 + 60, 'the peak memory of large events is bounded';
};

subtest 'a million small events' => sub {
    my $hub    = EventSource::Hub->new(history => {events => 100});
    my $before = most();
    $hub->publish(news => $_) for 1 .. 1_000_000;
    my $stats = $hub->stats;
    is_deeply [@$stats{qw(published channels)}, $stats->{history}{events}], [1_000_000, 1, 100],
        'all small events are published, and the history retains a hundred';
    cmp_ok most() - $before, '<', 64 + 100, 'the peak memory of small events is bounded';
};

subtest '600,000 channels without subscribers' => sub {
    my $hub = EventSource::Hub->new(history => {events => 0});
    $hub->publish("node $_" => 'x') for 1 .. 200_000;
    is $hub->stats->{channels}, 0, 'channels without subscribers and history are not counted';
    my $before = most();
    $hub->publish("node $_" => 'x') for 200_001 .. 600_000;
    $hub->stats;
    cmp_ok most() - $before, '<', 60, 'the peak memory of 400,000 more such channels is bounded';
};

done_testing;
