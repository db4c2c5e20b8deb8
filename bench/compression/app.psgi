# The application of bench/compression/run: a hub whose streams are compressed if the client accepts it. POST /say publishes its
# body.

use strict;
use warnings;

use EventSource::Hub;
use Plack::Request;

my $hub    = EventSource::Hub->new(per_process => 1, keep_history => {events => 200, bytes => 1_000_000_000});
my $events = $hub->to_app(channels => sub { return 'orders' }, compress => $ENV{BENCH_COMPRESS} ? 1 : 0);

sub {
    my $env = shift;
    return $events->($env) if $env->{PATH_INFO} eq '/events';
    $hub->publish(orders => {data => Plack::Request->new($env)->content});
    return [204, [], []];
};
