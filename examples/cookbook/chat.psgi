# A chat with rooms. A client that was away receives what was said meanwhile.
use strict;
use warnings;

use EventSource::Hub;
use JSON::MaybeXS qw(decode_json);
use Plack::Builder;
use Plack::Request;

# A client that enters a room receives the last 50 events of it.
my $hub = EventSource::Hub->new(start => -50, keep_history => {events => 500, seconds => 86_400});

# The channel of the path /ROOM. Nothing for any other path: to_app then answers with 404.
sub channel { return $_[0]{PATH_INFO} =~ m{\A/(\w{1,40})\z} ? "room/$1" : () }

sub say_it {
    my $request = Plack::Request->new(shift);
    my $channel = channel($request->env) or return [404, [], []];

    # A form of another site cannot send JSON, so it cannot speak in the name of its visitors.
    return [415, [], []] if $request->method ne 'POST' || ($request->content_type || '') ne 'application/json';
    my $said = eval { decode_json($request->content) };
    return [400, [], []] if ref $said ne 'HASH' || grep { ref || !defined } @$said{qw(name text)};
    $hub->publish($channel => {event => 'said', json => {name => $said->{name}, text => $said->{text}}});
    return [204, [], []];
}

builder {
    mount '/events' => $hub->to_app(channels => \&channel);
    mount '/hub.js' => EventSource::Hub->script_app;
    mount '/say'    => \&say_it;
    mount '/'       => sub { [200, ['Content-Type' => 'text/html; charset=utf-8'], [<<'HTML']] };
<!doctype html>
<form id="form"><input name="name" value="me"> <input name="text" autofocus> <button>Say</button></form>
<pre id="said"></pre>
<script type="module">
import { connect } from '/hub.js'
const room = location.search.slice(1) || 'lobby'
const headers = {'Content-Type': 'application/json'}
form.onsubmit = event => {
  event.preventDefault()
  const body = JSON.stringify({name: form.elements.name.value, text: form.elements.text.value})
  fetch('/say/' + room, {method: 'POST', headers, body}).then(() => form.elements.text.value = '')
}
const hub = connect('/events/' + room, {start: -50})
hub.addEventListener('said', event => {
  const {name, text} = JSON.parse(event.data)
  said.append(`${name}: ${text}\n`)
})
hub.addEventListener('gap', () => said.append('(some of it is missing)\n'))
</script>
HTML
};
