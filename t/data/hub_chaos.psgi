# The application of script/soak hub and script/soak stores: streams of a hub in a process of its own, and publishers in workers
# and in forked jobs. The environment has the hub's socket, and its store as JSON.
#
#   /hub            a stream of the channel numbers
#   /publish?7      publishes 7, and answers with the id, or with error and the code of the exception
#   /publish?7+once the same with a key `once`
#   /job?7          as /publish, in a forked process

use Testing::Application qw(answer id_or_error in_job);
use EventSource::Hub;
use JSON::PP ();
use Plack::Builder;

my $store = JSON::PP->new->allow_nonref->decode($ENV{HUB_STORE});
my $hub   = EventSource::Hub->new(
    name               => 'chaos',
    socket             => $ENV{HUB_SOCKET},
    keep_history       => {events => 400},                           # full after some seconds
    idle_exit          => 2,
    native             => 1,
    keep_total_history => {events => 1_000_000, bytes => 1 << 28},
    defined $store ? (store => $store, publish_timeout => 2) : (),
);

sub publish {
    my ($number, $is_once) = shift =~ /\A([0-9]+)([+]once)?\z/;
    return id_or_error(sub { $hub->publish(numbers => $number, $is_once ? {once => "number $number"} : {}) });
}

builder {
    mount '/hub'     => $hub->to_app(channels => sub { return 'numbers' });
    mount '/publish' => sub { return answer(publish($_[0]{QUERY_STRING})) };
    mount '/job'     => sub {
        my $number = $_[0]{QUERY_STRING};
        return answer(in_job(sub { publish($number) }) // 'error unknown');
    };
};
