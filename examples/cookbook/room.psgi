# Who is in a room, who is typing, and who is away; and what was said.
use strict;
use warnings;

use Digest::SHA qw(hmac_sha256_hex);
use Encode      qw(decode);
use EventSource::Hub;
use Plack::Builder;
use Plack::Request;

# All workers have the same one.
my $SECRET = $ENV{ROOM_SECRET} || die "ROOM_SECRET is not set\n";

# ROOM_SOCKET is for tests; without it the hub is found by its name.
my @socket = defined $ENV{ROOM_SOCKET} ? (socket => $ENV{ROOM_SOCKET}) : ();
my $hub    = EventSource::Hub->new(name => 'room', on_slow => 'gap', @socket);

# In place of your login: a cookie has a name, and an id that nobody can choose.
sub enter {
    my $name = shift->body_parameters->{name} // '';
    return [400, [], []] if $name !~ /\A\w{1,20}\z/a;
    open my $random, '<:raw', '/dev/urandom' or die "/dev/urandom: $!\n";
    read $random, my $bytes, 8;
    my $visitor = unpack('H*', $bytes) . ".$name";
    my $cookie  = "visitor=$visitor." . hmac_sha256_hex($visitor, $SECRET);
    return [204, ['Set-Cookie' => "$cookie; Path=/; HttpOnly; SameSite=Lax"], []];    # on https: and Secure
}

sub visitor {
    my ($id, $name, $mac) = split /[.]/, Plack::Request->new(shift)->cookies->{visitor} // '';
    return if !defined $mac || $mac ne hmac_sha256_hex("$id.$name", $SECRET);
    return {id => $id, name => $name};
}

# The stream of a visitor: the last that was said, who is here, and what comes. The first one makes the visitor a member.
my $events = $hub->to_app(
    channels => sub {
        return [403, ['Content-Type' => 'text/plain'], ['Please enter']] if !visitor(shift);
        return (['room', {start => -50}], ['room/people', {start => 'state'}]);
    },
    member => sub {
        my $visitor = visitor(shift);
        return {id => $visitor->{id}, channel => 'room/people', json => {name => $visitor->{name}, does => ''}};
    },
);

sub say_it {
    my $request = shift;
    my $visitor = visitor($request->env) or return [403, [], []];
    my $text    = decode('UTF-8', $request->body_parameters->{text} // '');
    $hub->publish(room => {event => 'said', json => {name => $visitor->{name}, text => $text}});
    return [204, [], []];
}

# Any worker can change any member; the hub process knows them all.
sub does {
    my $request = shift;
    my $visitor = visitor($request->env) or return [403, [], []];
    my $does    = $request->body_parameters->{does} // '';
    return [400, [], []] if $does !~ /\A(?:|typing|away)\z/;
    $hub->update_member('room/people', $visitor->{id}, {json => {name => $visitor->{name}, does => $does}});
    return [204, [], []];
}

my %POST = (enter => \&enter, say => \&say_it, does => \&does);

builder {
    for my $name (keys %POST) {
        mount "/$name" => sub {
            my $request = Plack::Request->new(shift);
            return $request->method eq 'POST' ? $POST{$name}->($request) : [405, [Allow => 'POST'], []];
        };
    }
    mount '/events' => $events;
    mount '/hub.js' => EventSource::Hub->script_app;
    mount '/'       => sub { [200, ['Content-Type' => 'text/html; charset=utf-8'], [<<'HTML']] };
<!doctype html>
<form id="entrance" hidden>Your name <input name="name" required pattern="\w{1,20}"> <button>Enter</button></form>
<form id="room" hidden><input name="text" autocomplete="off"> <button>Say</button></form>
<ul id="here"></ul>
<pre id="said"></pre>
<script type="module">
import { connect } from '/hub.js'
let typing, does = ''

// One after the other: two workers might answer them in another order.
let last = Promise.resolve()
const post = (path, fields) =>
  last = last.then(() => fetch(path, {method: 'POST', body: new URLSearchParams(fields)})).catch(console.warn)

const tell = what => {
  clearTimeout(typing)
  if (what === 'typing') typing = setTimeout(tell, 3000, '')
  if (what !== does) post('/does', {does: does = what})
}
room.elements.text.oninput = () => tell('typing')
document.onvisibilitychange = () => tell(document.hidden ? 'away' : '')

const open = () => {
  const hub = connect('/events', {start: -50})
  const people = hub.members()
  let isNew
  hub.onopen = () => { isNew = true; room.hidden = false; entrance.hidden = true }
  hub.onerror = () => { if (hub.readyState === hub.CLOSED) room.hidden = !(entrance.hidden = false) }
  hub.addEventListener('position', () => {
    if (isNew && does) post('/does', {does})   // a stream that comes back has set the data of the callback
    isNew = false
  })
  hub.addEventListener('said', event => {
    const {name, text} = JSON.parse(event.data)
    said.append(`${name}: ${text}\n`)
  })
  people.addEventListener('change', () => here.replaceChildren(...[...people.values()].map(({name, does}) =>
    Object.assign(document.createElement('li'), {textContent: does ? `${name} (${does})` : name}))))
}
room.onsubmit = event => {
  event.preventDefault()
  post('/say', {text: room.elements.text.value})
  room.elements.text.value = ''
  tell('')
}
entrance.onsubmit = event => {
  event.preventDefault()
  post('/enter', {name: entrance.elements.name.value}).then(open)
}
open()
</script>
HTML
};
