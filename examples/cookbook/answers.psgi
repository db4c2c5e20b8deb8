# Answers of a language model that outlive the page and the worker: a job publishes the tokens, the page reads a channel.
use strict;
use warnings;

use EventSource::Hub;
use Plack::Builder;
use Plack::Request;

my $JOB = $ENV{ANSWER_JOB} || 'examples/cookbook/answer';
my $hub = EventSource::Hub->new(
    name    => 'answers',
    socket  => $ENV{HUB_SOCKET},
    start   => 'oldest',
    history => {events => 10_000, seconds => 3600},
);

# Anybody who knows the id may read the answer, so the id cannot be guessed.
sub new_id {
    open my $random, '<:raw', '/dev/urandom' or die "/dev/urandom: $!\n";
    read $random, my $bytes, 16;
    return unpack 'H*', $bytes;
}

# The job is not a child of the worker, so that it ends neither with the worker nor with the client.
sub ask {
    my $env = shift;
    return [405, [Allow => 'POST'], []] if $env->{REQUEST_METHOD} ne 'POST';
    my $id = new_id();
    local $ENV{QUESTION} = Plack::Request->new($env)->parameters->{question} // '';
    system('setsid', '--fork', $JOB, $id) == 0 or return [503, [], []];
    return [200, ['Content-Type' => 'text/plain'], [$id]];
}

builder {
    mount '/ask'    => \&ask;
    mount '/hub.js' => EventSource::Hub->script_app;
    mount '/answer' => $hub->to_app(
        channels => sub {
            my $env = shift;
            return $env->{PATH_INFO} =~ m{\A/([0-9a-f]{32})\z} ? "answer/$1" : [404, [], []];
        }
    );
    mount '/' => sub { [200, ['Content-Type' => 'text/html; charset=utf-8'], [<<'HTML']] };
<!doctype html>
<form id="form"><input name="question" size="60" autofocus> <button>Ask</button></form>
<pre id="answer"></pre>
<script type="module">
import { connect } from '/hub.js'
const read = id => {
  answer.textContent = ''
  const tokens = connect(`/answer/${id}`, {start: -10000, history: 4e6})
  const end = text => { tokens.close(); answer.append(`\n(${text})\n`) }
  tokens.addEventListener('token', event => answer.append(event.data))
  tokens.addEventListener('gap', () => end('the rest is lost'))
  tokens.addEventListener('end', event => end(event.data))
}
form.onsubmit = async event => {
  event.preventDefault()
  const response = await fetch('/ask', {method: 'POST', body: new URLSearchParams(new FormData(form))})
  const id = await response.text()
  location.hash = id
  read(id)
}
if (location.hash) read(location.hash.slice(1))
</script>
HTML
};
