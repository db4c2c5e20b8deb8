# An application to test: a counter that every client sees.
use strict;
use warnings;

use EventSource::Hub;
use Plack::Builder;

my $hub   = EventSource::Hub->new(keep_history => {events => 100});
my $count = 0;

builder {
    mount '/events' => $hub->to_app(channels => sub { 'count' });
    mount '/add'    => sub {
        return [405, [Allow => 'POST'], []] if shift->{REQUEST_METHOD} ne 'POST';
        $hub->publish(count => {event => 'count', json => {value => ++$count}});
        return [204, [], []];
    };
};
