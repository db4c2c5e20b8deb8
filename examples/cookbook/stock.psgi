# What is left of each item: a page shows it at once, then each change, and never loads anything anew.
use strict;
use warnings;

use EventSource::Hub;
use Plack::Builder;
use Plack::Request;

# STOCK_SOCKET is for tests; without it the hub is found by its name.
my @socket = defined $ENV{STOCK_SOCKET} ? (socket => $ENV{STOCK_SOCKET}) : ();
my $hub = EventSource::Hub->new(name => 'stock', start => 'state', on_slow => 'gap', show_channel => 'data', @socket);

# POST item=bolt&left=3, or item=bolt alone if it is sold no longer.
sub set {
    my $given = Plack::Request->new(shift)->body_parameters;
    my ($item, $left) = @$given{qw(item left)};
    return [400, [], []] if ($item // '') !~ /\A\w{1,40}\z/ || ($left // 0) !~ /\A\d{1,9}\z/;
    $hub->publish(stock => {key => $item, json => 0 + $left, retain => 1}) if defined $left;
    $hub->forget(stock => $item)                                           if !defined $left;
    return [204, [], []];
}

builder {
    mount '/events' => $hub->to_app(channels => sub { 'stock' });
    mount '/hub.js' => EventSource::Hub->script_app;
    mount '/set'    => \&set;
    mount '/'       => sub { [200, ['Content-Type' => 'text/html; charset=utf-8'], [<<'HTML']] };
<!doctype html>
<pre id="shown">...</pre>
<script type="module">
import { connect } from '/hub.js'
const stock = connect('/events').state('stock')
const show = () => shown.textContent = [...stock].sort().map(pair => pair.join(': ')).join('\n')
stock.addEventListener('change', show)
stock.ready.then(show)
</script>
HTML
};
