# workers.psgi: the same page with a named hub, which all workers share.
use strict;
use warnings;

use EventSource::Hub;
use Plack::Builder;
use Plack::Request;

my $hub = EventSource::Hub->new(name => 'bakery');

my $PAGE = q{<!doctype html>
<title>Bakery</title>
<ul id="baked"></ul>
<script type="module">
import { connect } from '/hub.js'
connect('/events').onmessage = event => {
  const {bread, left} = JSON.parse(event.data)
  baked.append(Object.assign(document.createElement('li'), {textContent: `${bread}: ${left}`}))
}
</script>};

sub bake {
    my $given = Plack::Request->new(shift)->body_parameters;
    my ($bread, $left) = @$given{qw(bread left)};
    return [400, [], []] if ($bread // '') !~ /\A\w{1,40}\z/ || ($left // '') !~ /\A\d{1,4}\z/;
    $hub->publish(bread => {json => {bread => $bread, left => 0 + $left}});
    return [200, ['Content-Type' => 'text/plain'], ["published by worker $$\n"]];
}

builder {
    mount '/events' => $hub->to_app(channels => sub { 'bread' });
    mount '/hub.js' => EventSource::Hub->script_app;
    mount '/bake'   => \&bake;
    mount '/'       => sub { [200, ['Content-Type' => 'text/html; charset=utf-8'], [$PAGE]] };
};
