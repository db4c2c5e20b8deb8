package Testing::HubMemory;
use Testing;

# The memory of a hub: its histories and the events on their way to the native thread are bounded.
#
#   is_bounded(large => 1500, small => [1_000_000, 1], channels => [600_000, 10]);
#
# large is the number of events of a megabyte; small and channels, the number of small events and of channels without
# subscribers, and the bytes of the data of each, and of each name.

use EventSource::Hub;
use Exporter         qw(import);
use Testing::Process qw(memory_of);

our @EXPORT_OK = qw(is_bounded);

my $MB = 1024 * 1024;

sub is_bounded {
    my %count = @_;
    plan skip_all => 'there is no /proc on this system' if !-e '/proc/self/status';
    subtest 'events of a megabyte' => sub { _large($count{large}) };
    subtest 'small events' => sub { _small(@{$count{small}}) }
        if $count{small};
    subtest 'channels without subscribers' => sub { _channels(@{$count{channels}}) };
    done_testing;
    return;
}

# The peak of this process's resident memory, in megabytes.
sub _most { return (memory_of($$))[1] }

sub _channels {
    my ($count, $bytes) = @_;
    my $hub  = EventSource::Hub->new(keep_history => {events => 0});
    my $warm = $count / 3;

    # stats waits for the native thread, so that few events are on their way to it.
    my $publish = sub {
        my ($from, $to) = @_;
        for my $number ($from .. $to) {
            $hub->publish(sprintf("%0${bytes}d", $number) => 'x');
            $hub->stats if $number % 10_000 == 0;
        }
    };
    $publish->(1, $warm);
    is $hub->stats->{channels}, 0, 'channels without subscribers and history are not counted';
    my $before = _most();
    $publish->($warm + 1, $count);
    $hub->stats;
    cmp_ok _most() - $before, '<', 60, 'the peak memory of twice as many more such channels is bounded';
    return;
}

sub _large {
    my $count  = shift;
    my $hub    = EventSource::Hub->new(keep_history => {bytes => 8 * $MB}, keep_total_history => {bytes => 16 * $MB});
    my $data   = 'x' x $MB;
    my $before = _most();
    $hub->publish($_ % 4, $data) for 1 .. $count;
    my $stats = $hub->stats;
    is $stats->{published}, $count, 'all are published';
    cmp_ok $stats->{history}{bytes}, '<=', 16 * $MB,     'keep_total_history bounds the retained bytes';
    cmp_ok _most() - $before,        '<',  64 + 16 + 60, 'the peak memory is bounded';
    return;
}

sub _small {
    my ($count, $bytes) = @_;
    my $hub    = EventSource::Hub->new(keep_history => {events => 100});
    my $before = _most();
    my $data   = 'x' x $bytes;
    $hub->publish(news => $data) for 1 .. $count;
    my $stats = $hub->stats;
    is_deeply [@$stats{qw(published channels)}, $stats->{history}{events}], [$count, 1, 100],
        'all are published, and the history retains a hundred';
    cmp_ok _most() - $before, '<', 64 + 100, 'the peak memory is bounded';
    return;
}

1;
