# first.psgi: a stream of events, and a way to publish one.
use strict;
use warnings;

use EventSource::Hub;
use Plack::Builder;
use Plack::Request;

my $hub = EventSource::Hub->new;

# POST bread=rye&left=3
sub bake {
    my $given = Plack::Request->new(shift)->body_parameters;
    my ($bread, $left) = @$given{qw(bread left)};
    return [400, [], []] if ($bread // '') !~ /\A\w{1,40}\z/ || ($left // '') !~ /\A\d{1,4}\z/;
    $hub->publish(bread => {json => {bread => $bread, left => 0 + $left}});
    return [204, [], []];
}

builder {
    mount '/events' => $hub->to_app(channels => sub { 'bread' });
    mount '/bake'   => \&bake;
};
