# The application of original.psgi with a hub: it has no list of clients, and a client that was away misses nothing.
use strict;
use warnings;

use Encode qw(decode);
use EventSource::Hub;
use Plack::App::EventSource;
use Plack::Builder;
use Plack::Request;

my $hub = EventSource::Hub->new;

builder {
    mount '/events' => Plack::App::EventSource->new(
        origins    => '*',
        handler_cb => sub {
            my ($conn, $env) = @_;
            $conn->push({event => 'hello', data => $hub->subscribers('all')});
            $hub->subscribe($conn, 'all');
        },
    )->to_app;
    mount '/say' => sub {
        my $text = Plack::Request->new(shift)->parameters->{text};
        $hub->publish(all => {data => decode('UTF-8', $text)});
        return [204, [], []];
    };
};
