# Answers of a language model that outlive the page and the worker: a job publishes the tokens, pages read a channel, and any
# request can stop the answer.
use strict;
use warnings;

use Encode qw(decode);
use EventSource::Hub;
use File::Basename qw(dirname);
use File::Spec     ();
use Plack::Builder;
use Plack::Request;

my $JOB = File::Spec->rel2abs('answer', dirname(__FILE__));    # it is beside this file
die "$JOB is no program\n" if !-x $JOB;

my $MOST = 100_000;                                            # characters of a question

my $hub = EventSource::Hub->new(
    name         => 'answers',
    socket       => $ENV{ANSWERS_SOCKET},
    start        => 'oldest',
    keep_history => {events => 10_000, seconds => 3600},
);

# Anybody who knows the id may read the answer, so the id cannot be guessed.
sub new_id {
    open my $random, '<:raw', '/dev/urandom' or die "/dev/urandom: $!\n";
    read $random, my $bytes, 16;
    return unpack 'H*', $bytes;
}

# The job reads the question from the channel. It is not a child of the worker, so that it ends neither with the worker nor with
# the client. If it dies, its shell ends the answer.
my $RUN = <<'SHELL';
"$0" "$1" || exec eventsource publish --quiet --hub answers ${ANSWERS_SOCKET:+--socket "$ANSWERS_SOCKET"} \
    --event end --once "end of answer/$1" "answer/$1" failed
SHELL

sub ask {
    my $env = shift;
    return [405, [Allow => 'POST'], []] if $env->{REQUEST_METHOD} ne 'POST';
    my $question = decode('UTF-8', Plack::Request->new($env)->parameters->{question} // '');
    return text(413, "The question has more than $MOST characters.") if length $question > $MOST;
    my $id = new_id();
    $hub->publish("answer/$id", {event => 'question', data => $question});
    system('setsid', '--fork', 'sh', '-c', $RUN, $JOB, $id) == 0 or return text(503, 'The server is busy.');
    return text(200, $id);
}

sub text {
    my ($status, $text) = @_;
    return [$status, ['Content-Type' => 'text/plain'], [$text]];
}

# Returns the channel of the answer that a request names, or a response if there is none: its question may have expired, or have
# been lost with a hub process.
sub channel {
    my $env = shift;
    my ($id) = $env->{PATH_INFO} =~ m{\A/([0-9a-f]{32})\z} or return [404, [], []];
    my $has_events;
    $hub->epoch;    # starts the hub process if it does not run
    $hub->process->channels("answer/$id", sub { $has_events = $_[0]{events} });
    return $has_events ? "answer/$id" : [404, [], []];
}

# Ends the answer for all pages. The job reads the channel, too, and ends with it. With "once" only the first end counts.
sub stop {
    my $env = shift;
    return [405, [Allow => 'POST'], []] if $env->{REQUEST_METHOD} ne 'POST';
    my $channel = channel($env);
    return $channel if ref $channel;
    $hub->publish($channel, {event => 'end', data => 'stopped'}, {once => "end of $channel"});
    return [204, [], []];
}

builder {
    mount '/ask'    => \&ask;
    mount '/stop'   => \&stop;
    mount '/hub.js' => EventSource::Hub->script_app;
    mount '/answer' => $hub->to_app(channels => \&channel);
    mount '/'       => sub { [200, ['Content-Type' => 'text/html; charset=utf-8'], [<<'HTML']] };
<!doctype html>
<form id="form">
  <input name="question" size="60" autofocus> <button>Ask</button> <button type="button" id="stop" disabled>Stop</button>
</form>
<pre id="answer"></pre>
<script type="module">
import { connect } from '/hub.js'
const stop = document.getElementById('stop')    // window.stop is a function of the browser
let tokens
const read = id => {
  tokens?.close()
  answer.textContent = ''
  stop.disabled = !id
  if (!id) return
  stop.onclick = () => fetch(`/stop/${id}`, {method: 'POST'})
  tokens = connect(`/answer/${id}`, {start: -10000, history: 4e6})
  const end = text => {
    tokens.close()
    stop.disabled = true
    answer.append(`\n(${text})\n`)
  }
  tokens.addEventListener('question', event => { form.elements.question.value = event.data })
  tokens.addEventListener('token', event => answer.append(event.data))
  tokens.addEventListener('gap', () => end('the rest is lost'))
  tokens.addEventListener('end', event => end(event.data))
  tokens.onerror = () => { if (tokens.readyState === tokens.CLOSED) end('there is no such answer, or it is lost') }
}
form.onsubmit = async event => {
  event.preventDefault()
  const response = await fetch('/ask', {method: 'POST', body: new URLSearchParams(new FormData(form))})
  const text = await response.text()
  if (response.ok) location.hash = text
  else answer.textContent = text
}
window.onhashchange = () => read(location.hash.slice(1))
window.onhashchange()
</script>
HTML
};
