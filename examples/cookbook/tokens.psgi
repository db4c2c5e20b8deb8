# Passes the tokens of a language model on as they arrive. MODEL_URL is an endpoint with the interface of OpenAI.
use strict;
use warnings;

use Encode qw(decode encode_utf8);
use EventSource::Client;
use EventSource::Hub;
use JSON::MaybeXS qw(decode_json);
use Plack::App::EventSource;
use Plack::Builder;
use Plack::Request;

my $URL = $ENV{MODEL_URL} || 'http://127.0.0.1:11434/v1/chat/completions';

# Returns true if the answer is whole.
sub ask {
    my ($question, $on_token) = @_;
    my $client = EventSource::Client->new(
        url     => $URL,
        headers => [Authorization => 'Bearer ' . ($ENV{MODEL_KEY} || '')],
        json    => {
            model    => $ENV{MODEL} || 'llama3.2',
            stream   => \1,
            messages => [{role => 'user', content => $question}],
        },
        timeout => 60,
    );
    while (my $event = $client->next) {
        return 1 if $event->{data} eq '[DONE]';
        my $delta = decode_json(encode_utf8($event->{data}))->{choices}[0]{delta};
        $on_token->($delta->{content}) if length($delta->{content} // '');
    }
    return 0;
}

sub answer {
    my ($conn, $question) = @_;
    my $number   = 0;
    my $is_whole = eval {
        ask($question, sub { $conn->push({event => 'token', id => ++$number, data => shift}) });
    };
    warn $@ if $@;
    $conn->finish(data => $is_whole ? 'complete' : 'failed');
    return;
}

my $answers = Plack::App::EventSource->new(
    characters => 1,
    methods    => ['GET', 'POST'],
    handler_cb => sub {
        my ($conn, $env) = @_;
        return $conn->finish(data => 'interrupted') if defined $conn->last_event_id;    # do not ask, and pay, again
        my $question = decode('UTF-8', Plack::Request->new($env)->parameters->{question} // '');
        $conn->spawn(sub { answer($conn, $question) }) or $conn->finish(data => 'busy');
    },
)->to_app;

builder {
    mount '/answer' => $answers;
    mount '/hub.js' => EventSource::Hub->script_app;
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
const end = text => {
  tokens.close()
  stop.disabled = true
  answer.append(`\n(${text})\n`)
}
stop.onclick = () => end('stopped')
form.onsubmit = event => {
  event.preventDefault()
  tokens?.close()
  answer.textContent = ''
  stop.disabled = false
  tokens = connect('/answer', {method: 'POST', body: new URLSearchParams(new FormData(form))})
  tokens.addEventListener('token', event => answer.append(event.data))
  tokens.addEventListener('finish', event => end(event.data))
  tokens.onerror = () => { if (tokens.readyState === tokens.CLOSED) end('failed') }
}
</script>
HTML
};
