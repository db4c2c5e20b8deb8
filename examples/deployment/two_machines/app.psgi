# An application that runs on several machines behind a load balancer (nginx.conf beside this file): their hubs keep the events
# in one Redis, so a client receives what is published on any of them, and resumes on any of them. On each machine:
#
#   REDIS_URL=redis://:password@10.0.0.9:6379/0 plackup -s Starman --workers 4 -E deployment -p 5000 app.psgi
use strict;
use warnings;

use EventSource::Hub;
use JSON::MaybeXS qw(encode_json);
use Plack::Builder;
use Plack::Request;

my $hub = EventSource::Hub->new(
    name  => 'shop',
    retry => [1000, 3000],
    store => {redis => $ENV{REDIS_URL} || die "REDIS_URL is not set\n"},
);

# Publishes the body of a POST. A sender that repeats a request, because it has got no answer, names it by the header
# Idempotency-Key: then the event is published once, on whichever machine the request arrives.
sub publish {
    my $request = Plack::Request->new(shift);
    return [405, [Allow => 'POST'], []] if $request->method ne 'POST';
    my $key = $request->header('Idempotency-Key');
    my $id  = eval { $hub->publish(news => $request->raw_body, {defined $key ? (once => $key) : ()}) };
    return [200, ['Content-Type' => 'text/plain'], [$id]] if defined $id;
    warn $@;
    return [503, ['Content-Type' => 'text/plain', 'Retry-After' => 1], ["not published; try again\n"]];
}

# For a monitor: whether Redis takes and delivers events.
sub health {
    my $store = $hub->stats->{store};
    return [$store->{up} ? 200 : 503, ['Content-Type' => 'application/json'], [encode_json($store)]];
}

builder {
    mount '/events'  => $hub->to_app(channels => sub { 'news' });
    mount '/publish' => \&publish;
    mount '/health'  => \&health;
};
