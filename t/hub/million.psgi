# A hub to which numbers are published.
#
#   GET  /events                              the stream, which begins with the history
#   POST /publish?from=7&count=3              publishes these numbers
#   GET  /stats                               the statistics of the hub and of the process
#
# An event's data has its number as the third and last word, as bench/load judges it; its length varies.

use Testing::Application qw(query);
use EventSource::Hub;
use EventSource::XS ();
use JSON::PP        qw(encode_json);
use Plack::Builder;

my $hub = EventSource::Hub->new(
    keep_history => {events => $ENV{MILLION_HISTORY}, bytes => 1 << 30},
    start        => 'oldest',
    per_process  => 1,
);

sub publish {
    my %query = query(shift);
    my ($from, $count) = @query{qw(from count)};
    $hub->publish('numbers', "0 0 $_ " . 'x' x ($_ % 50) . " $_") for $from .. $from + $count - 1;
    return [204, [], []];
}

sub stats {
    my $bytes = encode_json({hub => $hub->stats, streams => EventSource::XS->stats});
    return [200, ['Content-Type' => 'application/json', 'Content-Length' => length $bytes], [$bytes]];
}

builder {
    mount '/events'  => $hub->to_app(channels => sub { 'numbers' });
    mount '/publish' => \&publish;
    mount '/stats'   => \&stats;
};
