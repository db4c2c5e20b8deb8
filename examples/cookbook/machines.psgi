# A dashboard of machines: its page never loads anything anew, not even after a gap.
use strict;
use warnings;

use EventSource::Hub;
use Plack::Builder;
use Plack::Request;

# MACHINES_SOCKET is for tests; without it the hub is found by its name.
my @socket = defined $ENV{MACHINES_SOCKET} ? (socket => $ENV{MACHINES_SOCKET}) : ();
my $hub    = EventSource::Hub->new(
    name         => 'machines',
    start        => 'state',
    on_slow      => 'gap',
    keep_history => {events => 20},
    show_channel => 'data',
    @socket
);

# POST machine=web1&figure=load&value=0.7, or without a value if the machine has that figure no longer.
sub set {
    my $given = Plack::Request->new(shift)->body_parameters;
    my ($machine, $figure, $value) = @$given{qw(machine figure value)};
    return [400, [], []] if grep { ($_ // '') !~ /\A[\w.]{1,40}\z/ } $machine, $figure, $value // 0;
    my ($channel, $key) = ("machine/$machine", "$machine $figure");
    $hub->publish($channel, {key => $key, json => [$machine, $figure, $value], retain => 1}) if defined $value;
    $hub->forget($channel, $key)                                                             if !defined $value;
    return [204, [], []];
}

builder {
    mount '/events' => $hub->to_app(channels => sub { EventSource::Hub->pattern('machine/*') });
    mount '/hub.js' => EventSource::Hub->script_app;
    mount '/set'    => \&set;
    mount '/'       => sub { [200, ['Content-Type' => 'text/html; charset=utf-8'], [<<'HTML']] };
<!doctype html>
<table><tbody id="rows"></tbody></table>
<script type="module">
import { connect } from '/hub.js'
const figures = connect('/events').state()
const show = () => rows.replaceChildren(...[...figures.values()].sort().map(cells => {
  const row = document.createElement('tr')
  row.append(...cells.map(text => Object.assign(document.createElement('td'), {textContent: text})))
  return row
}))
figures.addEventListener('change', show)
</script>
HTML
};
