# Passes the tokens of a language model on as they arrive. MODEL_URL is an endpoint with the interface of OpenAI.
use strict;
use warnings;

use Encode qw(decode encode_utf8);
use EventSource::Parser;
use HTTP::Tiny;
use JSON::MaybeXS qw(decode_json encode_json);
use Plack::App::EventSource;
use Plack::Builder;
use Plack::Request;

my $URL = $ENV{MODEL_URL} || 'http://127.0.0.1:11434/v1/chat/completions';

sub ask {
    my ($question, $on_token) = @_;
    my $parser = EventSource::Parser->new;
    my $read   = sub {
        for my $event ($parser->feed(shift)) {
            next if $event->{data} eq '[DONE]';
            my $delta = decode_json(encode_utf8($event->{data}))->{choices}[0]{delta};
            $on_token->($delta->{content}) if length($delta->{content} // '');
        }
    };
    my %asked =
        (model => $ENV{MODEL} || 'llama3.2', stream => \1, messages => [{role => 'user', content => $question}]);
    my %headers = ('Content-Type' => 'application/json', Authorization => 'Bearer ' . ($ENV{MODEL_KEY} || ''));
    my %options = (headers => \%headers, content => encode_json(\%asked), data_callback => $read);
    return HTTP::Tiny->new(timeout => 60)->post($URL, \%options)->{success};
}

sub answer {
    my ($conn, $question) = @_;
    my $number   = 0;
    my $is_whole = ask($question, sub { $conn->push({event => 'token', id => ++$number, data => shift}) });
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
    mount '/'       => sub { [200, ['Content-Type' => 'text/html; charset=utf-8'], [<<'HTML']] };
<!doctype html>
<form id="form"><input name="question" size="60" autofocus> <button>Ask</button></form>
<pre id="answer"></pre>
<script>
form.onsubmit = event => {
  event.preventDefault()
  answer.textContent = ''
  const source = new EventSource('/answer?' + new URLSearchParams(new FormData(form)))
  source.addEventListener('token', event => answer.append(event.data))
  source.addEventListener('finish', event => { source.close(); answer.append(`\n(${event.data})\n`) })
}
</script>
HTML
};
