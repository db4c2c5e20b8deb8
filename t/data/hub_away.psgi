# An application whose hub may be away: /hub is a stream, /several one of several subscriptions, /plain an ordinary response of
# the worker's process id. /publish publishes without waiting, and says how long that took and what it threw.
#
# The environment: HUB_SETTINGS, the hub's settings in JSON.

use Testing::Application qw(answer);
use EventSource::Hub;
use JSON::PP    ();
use Time::HiRes qw(time);

my $hub     = EventSource::Hub->new(%{JSON::PP::decode_json($ENV{HUB_SETTINGS})}, retry => 100);
my $stream  = $hub->to_app(channels => sub { 'news' });
my $several = $hub->to_app(channels => sub { ('news', ['stock', {start => 'state'}], ['chat', {start => -5}]) });

my %ROUTE = (
    '/hub'     => $stream,
    '/several' => $several,
    '/plain'   => sub { answer($$) },
    '/publish' => sub {
        my $began = time;
        my $error = eval { $hub->publish(news => {data => 'x'}, {wait => 0}); 1 } ? '' : $@->code;
        return answer(JSON::PP::encode_json({seconds => time - $began, error => $error}));
    },
);

sub { my $env = shift; return ($ROUTE{$env->{PATH_INFO}} || $ROUTE{'/plain'})->($env) };
