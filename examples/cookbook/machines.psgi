# A dashboard of machines: its page never loads anything anew, not even after a gap.
use strict;
use warnings;

use EventSource::Hub;
use Plack::Builder;
use Plack::Request;

# MACHINES_SOCKET is for tests; without it the hub is found by its name.
my @socket = defined $ENV{MACHINES_SOCKET} ? (socket => $ENV{MACHINES_SOCKET}) : ();
my $hub =
    EventSource::Hub->new(name => 'machines', start => 'state', on_slow => 'gap', history => {events => 20}, @socket);

# POST machine=web1&figure=load&value=0.7, or without a value if the machine has that figure no longer.
sub set {
    my $given = Plack::Request->new(shift)->body_parameters;
    my ($machine, $figure, $value) = @$given{qw(machine figure value)};
    return [400, [], []] if grep { ($_ // '') !~ /\A[\w.]{1,40}\z/ } $machine, $figure, $value // 0;
    $hub->publish("machine/$machine" => {key => $figure, json => [$machine, $figure, $value], retain => 1})
        if defined $value;
    $hub->forget("machine/$machine", $figure, {json => [$machine, $figure]}) if !defined $value;
    return [204, [], []];
}

builder {
    mount '/events' => $hub->to_app(channels => sub { EventSource::Hub->pattern('machine/*') });
    mount '/set'    => \&set;
    mount '/'       => sub { [200, ['Content-Type' => 'text/html; charset=utf-8'], [<<'HTML']] };
<!doctype html>
<table><tbody id="rows"></tbody></table>
<script>
const figures = new Map()
let isComplete = false
const show = () => {
  if (!isComplete) return
  rows.replaceChildren(...[...figures.values()].sort().map(cells => {
    const row = document.createElement('tr')
    row.append(...cells.map(text => Object.assign(document.createElement('td'), {textContent: text})))
    return row
  }))
}
const name = ([machine, figure]) => machine + ' ' + figure
const source = new EventSource('/events')
source.onmessage = event => { const set = JSON.parse(event.data); figures.set(name(set), set); show() }
source.addEventListener('forget', event => { figures.delete(name(JSON.parse(event.data))); show() })
source.addEventListener('gap', () => { figures.clear(); isComplete = false })
source.addEventListener('position', () => { isComplete = true; show() })
</script>
HTML
};
