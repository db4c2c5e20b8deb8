# A page that has its data when it is loaded, continues where they ended, and says whether it is live.
use strict;
use warnings;

use Encode qw(decode encode);
use EventSource::Hub;
use File::Basename qw(dirname);
use Plack::App::File;
use Plack::Builder;
use Plack::Request;
use Plack::Util;

# LIVE_SOCKET is for tests; without it the hub is found by its name.
my @socket = defined $ENV{LIVE_SOCKET} ? (socket => $ENV{LIVE_SOCKET}) : ();
my $hub    = EventSource::Hub->new(name => 'live', on_slow => 'gap', @socket);

# In place of your login.
sub user_of { return Plack::Request->new(shift)->cookies->{user} // '' }

my $events = $hub->to_app(
    channels => sub { my $user = user_of(shift); return length $user ? 'orders' : [401, [], []] },
    label    => sub { return 'user/' . user_of(shift) },
);

# A field of a form, in characters.
sub field {
    my ($env, $name) = @_;
    return decode('UTF-8', Plack::Request->new($env)->body_parameters->{$name} // '');
}

# The text is the key of its event, too, which may have 1,024 bytes. A page has it as the stream does: HTML changes CR and NUL.
sub order {
    my $text = field(shift, 'text');
    return [400, [], []] if $text !~ /\A[^[:cntrl:]]{1,200}\z/;
    $hub->publish(orders => {json => {text => $text}, key => $text, retain => 1});
    return [204, [], []];
}

# The reason is sent before the streams end.
sub close_shop {
    my $reason = field(shift, 'reason');
    $hub->publish(orders => {event => 'closed', data => $reason});
    $hub->end(topics => ['orders'], finish => 1);
    return [204, [], []];
}

sub log_in { return [303, [Location => '/', 'Set-Cookie' => 'user=ada; HttpOnly; SameSite=Lax'], []] }

sub log_out {
    my $user = user_of(shift);
    $hub->end(label => "user/$user");
    return [204, ['Set-Cookie' => 'user=; Max-Age=0'], []];
}

# The id first, then the data, here those of the hub: what comes in between is in both.
sub page {
    my $id     = $hub->last_id;
    my @orders = map { Plack::Util::encode_html($_->{key}) } $hub->state('orders');
    my $list   = encode('UTF-8', join '', map { "<li>$_</li>" } @orders);
    my $type   = 'text/html; charset=utf-8';
    return [200, ['Content-Type' => $type, 'Cache-Control' => 'no-store'], [<<"HTML"]];
<!doctype html>
<style>#live { display: inline-block; padding: 0 1em; background: #fc9 } #live.live { background: #9e9 }</style>
<p id="live">connecting</p>
<ul id="orders" data-id="$id">$list</ul>
<script type="module" src="/page.js"></script>
HTML
}

my $script = <<'JS';
import { connect } from '/hub.js'
import { badge } from '/badge.js'

const hub = connect('/events', {lastEventId: orders.dataset.id, share: false})
const texts = new Set([...orders.children].map(item => item.textContent))
hub.onmessage = ({data}) => {
  const {text} = JSON.parse(data)
  if (!texts.has(text)) orders.append(Object.assign(document.createElement('li'), {textContent: text}))
  texts.add(text)
}
hub.addEventListener('gap', () => location.reload())

badge(hub, live)
JS

builder {
    mount '/badge.js' => Plack::App::File->new(file => dirname(__FILE__) . '/badge.js')->to_app;
    mount '/close'    => \&close_shop;
    mount '/events'   => $events;
    mount '/hub.js'   => EventSource::Hub->script_app;
    mount '/login'    => \&log_in;
    mount '/logout'   => \&log_out;
    mount '/order'    => \&order;
    mount '/page.js'  => sub { [200, ['Content-Type' => 'text/javascript'], [$script]] };
    mount '/'         => \&page;
};
