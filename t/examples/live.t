# The recipe "A PAGE THAT IS LIVE" of EventSource::Cookbook in a real browser: no order is lost between the page and its stream,
# and the page says how its stream is.

use lib 't/lib';
use Testing;
use EventSource::Hub;
use Testing::Browser;
use Testing::CuttableProxy;
use Testing::Recipe;

my $live    = Testing::Recipe->start('live');
my $proxy   = Testing::CuttableProxy->start($live->port);
my $browser = Testing::Browser->start;
my $order   = sub { is $live->post('/order', text => $_[0]), 204, "order $_[0]" };

my $tab   = $browser->new_tab($proxy->url('/login'));
my $says  = sub { $tab->wait_for("document.getElementById('live')?.textContent === '$_[0]'", "the page says: $_[0]") };
my $lists = sub {
    my ($orders, $name) = @_;
    $tab->wait_for("[...document.getElementById('orders').children].map(item => item.textContent).join() === '$orders'",
        $name);
};

$says->('live');
$order->('a');
$lists->('a', 'an order comes to a page that was loaded without any');
is $live->post('/order', text => $_), 400, 'what a page cannot show as it is sent is no order'
    for '', 'x' x 201, "a\r\nb", "a\0b";

$proxy->delay(0.3);
$tab->evaluate('window.isOld = true');
$tab->evaluate('location.reload()');
$tab->wait_for("!window.isOld && live.textContent === 'connecting'", 'the page is rendered, and has no stream yet');
$order->($_) for qw(b c);
$proxy->delay(0);
$lists->('a,b,c', 'what comes in between is there once');
$says->('live');

is_deeply $tab->evaluate(
    <<'JS'), ['live', 'live'], 'a stream that is open is live, also after an event of the name error';
Promise.all([import('/hub.js'), import('/badge.js')]).then(async ([{connect}, {badge}]) => {
    const hub = connect('/events', {share: false}), element = document.createElement('p');
    await new Promise(resolve => hub.addEventListener('open', resolve));
    badge(hub, element);
    const first = element.textContent;
    hub.dispatchEvent(new MessageEvent('error', {data: 'of the application'}));
    hub.close();
    return [first, element.textContent];
})
JS

$proxy->hold;
$says->('reconnecting');
$order->('d');
$proxy->release;
$says->('live');
$lists->('a,b,c,d', 'what came meanwhile is there once');

$tab->evaluate("fetch('/logout', {method: 'POST'}).then(() => 1)");
$says->('log in again');

$tab->evaluate("location = '/login'");
$says->('live');
is $live->post('/close', reason => 'the shop is closed'), 204, 'the application ends all streams';
$says->('ended: the shop is closed');

# The time of the history is over, as in a shop without an order for an hour.
EventSource::Hub->new(name => 'live', socket => $live->socket, keep_history => {seconds => 1})->epoch;
ok wait_until(sub { !$live->hub->history('orders') }), 'the history is empty';
$tab->evaluate("location = '/'");
$says->('live');
$tab->evaluate('window.isFirst = true');
$order->("b\x{F6}lt <\x{263A}>");
$lists->('a,b,c,d,b\u00f6lt <\u263a>', 'an order of any characters comes to a page without a history');
$tab->wait_for('window.isFirst', 'which was loaded once');
is $live->post('/close', reason => ''), 204, 'the application gives no reason';
$says->('ended');
$tab->evaluate("location = '/'");
$lists->('a,b,c,d,b\u00f6lt <\u263a>', 'a page that is loaded later has the same');
$says->('live');

done_testing;
