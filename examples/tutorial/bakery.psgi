# bakery.psgi: and who is looking at it.
use strict;
use warnings;

use EventSource::Hub;
use Plack::Builder;
use Plack::Request;

my $hub = EventSource::Hub->new(name => 'bakery');

my $PAGE = q{<!doctype html>
<title>Bakery</title>
<pre id="shown">...</pre>
<p>Here: <span id="here"></span></p>
<script type="module">
import { connect } from '/hub.js'
const hub = connect('/events' + location.search, {key: 'bread'})
const breads = hub.state()
const people = hub.members()
const show = () => {
  shown.textContent = [...breads.values()].map(({bread, left}) => `${bread}: ${left}`).join('\n')
  here.textContent = [...people.keys()].sort().join(', ')
}
for (const map of [breads, people]) {
  map.addEventListener('change', show)
  map.ready.then(show)
}
</script>};

sub bake {
    my $given = Plack::Request->new(shift)->body_parameters;
    my ($bread, $left) = @$given{qw(bread left)};
    return [400, [], []] if ($bread // '') !~ /\A\w{1,40}\z/ || ($left // '') !~ /\A\d{1,4}\z/;
    $hub->publish(bread => {key => $bread, json => {bread => $bread, left => 0 + $left}, retain => 1}) if $left > 0;
    $hub->forget(bread => $bread)                                                                      if $left == 0;
    return [200, ['Content-Type' => 'text/plain'], ["published by worker $$\n"]];
}

# /?name=ann. Where users log in, the name is that of the login.
sub name {
    my $name = Plack::Request->new(shift)->query_parameters->{name} // '';
    return $name =~ /\A\w{1,20}\z/ ? $name : undef;
}

my $events = $hub->to_app(
    channels => sub { (['bread', {start => 'state'}], ['people', {start => 'state'}]) },
    member   => sub {
        my $name = name(shift) // return;
        return {id => $name, channel => 'people', leave_after => 1};
    },
);

builder {
    mount '/events' => $events;
    mount '/hub.js' => EventSource::Hub->script_app;
    mount '/bake'   => \&bake;
    mount '/'       => sub { [200, ['Content-Type' => 'text/html; charset=utf-8'], [$PAGE]] };
};
