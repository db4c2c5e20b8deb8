# state.psgi: the page shows what is left now, then each change.
use strict;
use warnings;

use EventSource::Hub;
use Plack::Builder;
use Plack::Request;

my $hub = EventSource::Hub->new(name => 'bakery');

my $PAGE = q{<!doctype html>
<title>Bakery</title>
<pre id="shown">...</pre>
<script type="module">
import { connect } from '/hub.js'
const breads = connect('/events', {key: 'bread'}).state()
const show = () =>
  shown.textContent = [...breads.values()].map(({bread, left}) => `${bread}: ${left}`).join('\n')
breads.addEventListener('change', show)
breads.ready.then(show)
</script>};

sub bake {
    my $given = Plack::Request->new(shift)->body_parameters;
    my ($bread, $left) = @$given{qw(bread left)};
    return [400, [], []] if ($bread // '') !~ /\A\w{1,40}\z/ || ($left // '') !~ /\A\d{1,4}\z/;
    $hub->publish(bread => {key => $bread, json => {bread => $bread, left => 0 + $left}, retain => 1}) if $left > 0;
    $hub->forget(bread => $bread)                                                                      if $left == 0;
    return [200, ['Content-Type' => 'text/plain'], ["published by worker $$\n"]];
}

builder {
    mount '/events' => $hub->to_app(channels => sub { ['bread', {start => 'state'}] });
    mount '/hub.js' => EventSource::Hub->script_app;
    mount '/bake'   => \&bake;
    mount '/'       => sub { [200, ['Content-Type' => 'text/html; charset=utf-8'], [$PAGE]] };
};
