# An order form. What pages show is what was committed: an order writes its events in its own transaction, and another process,
# `eventsource outbox`, publishes them.
use strict;
use warnings;

use EventSource::Hub;
use EventSource::Outbox;
use File::Basename qw(dirname);
use lib dirname(__FILE__);
use Orders;
use Plack::Builder;
use Plack::Request;

# ORDERS_SOCKET is for tests; without it the hub is found by its name.
my @socket = defined $ENV{ORDERS_SOCKET} ? (socket => $ENV{ORDERS_SOCKET}) : ();
my $hub = EventSource::Hub->new(name => 'orders', start => 'state', on_slow => 'gap', show_channel => 'data', @socket);

my $outbox = EventSource::Outbox->new(hub => $hub);
my $schema = Orders->of_environment;

# Runs code in a transaction. Returns the response: all of it was committed, or, if the code dies, nothing.
sub respond {
    my $change = shift;
    if (!eval { $schema->txn_do($change); 1 }) {
        return $@ if ref $@ eq 'ARRAY';    # the response of refuse
        die $@;
    }
    $outbox->committed;                    # only MariaDB needs it
    return [204, [], []];
}

sub refuse { die [409, ['Content-Type' => 'text/plain'], [shift]] }

# Changes how many pieces of an item there are, and publishes it. The row is locked from the change on, so the events of an item
# have the order of its transactions.
sub change_stock {
    my ($item, $more) = @_;
    my $row = $schema->resultset('Stock')->search({item => $item, pieces => {'>=' => -$more}});
    refuse('there are not so many') if $row->update({pieces => \['pieces + ?', $more]}) < 1;
    my $left = $schema->resultset('Stock')->find($item)->pieces;
    $outbox->publish($schema, stock => {key => $item, json => 0 + $left, retain => 1});
    return;
}

# POST item=bolt&pieces=2&card=4711. A card that ends in 0 is refused, after everything else was written.
sub order {
    my $given = Plack::Request->new(shift)->body_parameters;
    my ($item, $pieces, $card) = map { $given->{$_} // '' } qw(item pieces card);
    return [400, [], []] if $item !~ /\A\w{1,40}\z/ || $pieces !~ /\A[1-9]\d{0,5}\z/ || $card !~ /\A\d{1,20}\z/;
    my %order = (number => sprintf('%d-%06d', time, rand 1e6), item => $item, pieces => $pieces);
    return respond(
        sub {
            change_stock($item, -$pieces);
            $schema->resultset('Order')->create(\%order);
            $outbox->publish($schema, orders => {key => $order{number}, json => "$pieces $item", retain => 1});
            refuse('the card is refused') if $card =~ /0\z/;
        }
    );
}

# POST item=bolt&pieces=10
sub restock {
    my $given = Plack::Request->new(shift)->body_parameters;
    my ($item, $pieces) = map { $given->{$_} // '' } qw(item pieces);
    return [400, [], []] if $item !~ /\A\w{1,40}\z/ || $pieces !~ /\A[1-9]\d{0,5}\z/;
    return respond(
        sub {
            $schema->resultset('Stock')->find_or_create({item => $item, pieces => 0}, {key => 'primary'});
            change_stock($item, $pieces);
        }
    );
}

builder {
    mount '/events'  => $hub->to_app(channels => sub { qw(stock orders) });
    mount '/hub.js'  => EventSource::Hub->script_app;
    mount '/order'   => \&order;
    mount '/restock' => \&restock;
    mount '/'        => sub { [200, ['Content-Type' => 'text/html; charset=utf-8'], [<<'HTML']] };
<!doctype html>
<h1>Stock</h1>
<pre id="stock">...</pre>
<form>
  <input name="item" placeholder="item"> <input name="pieces" size="3" value="1"> <input name="card" placeholder="card">
  <button>Order</button> <output id="answer"></output>
</form>
<h1>Orders</h1>
<pre id="orders">...</pre>
<script type="module">
import { connect } from '/hub.js'
const events = connect('/events')
for (const name of ['stock', 'orders']) {
  const state = events.state(name)
  const show = () => document.getElementById(name).textContent = [...state].sort().map(pair => pair.join(': ')).join('\n')
  state.addEventListener('change', show)
  state.ready.then(show)
}
document.querySelector('form').addEventListener('submit', async event => {
  event.preventDefault()
  const response = await fetch('/order', {method: 'POST', body: new URLSearchParams(new FormData(event.target))})
  answer.textContent = response.ok ? 'ordered' : await response.text() || response.statusText
})
</script>
HTML
};
