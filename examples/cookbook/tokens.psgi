# Passes the tokens of a language model on as they arrive. MODEL_URL is an endpoint with the interface of OpenAI.
use strict;
use warnings;

use Encode qw(encode_utf8);
use EventSource::Parser;
use HTTP::Tiny;
use JSON::MaybeXS qw(decode_json encode_json);
use Plack::App::EventSource;
use Plack::Request;

my $URL = $ENV{MODEL_URL} || 'http://127.0.0.1:11434/v1/chat/completions';

sub ask {
    my ($question, $on_token) = @_;
    my $parser = EventSource::Parser->new;
    my $asked =
        {model => $ENV{MODEL} || 'llama3.2', stream => \1, messages => [{role => 'user', content => $question}]};
    my $read = sub {
        for my $event ($parser->feed(shift)) {
            next if $event->{data} eq '[DONE]';
            my $delta = decode_json(encode_utf8($event->{data}))->{choices}[0]{delta};
            $on_token->($delta->{content}) if length($delta->{content} // '');
        }
    };
    my $options =
        {headers => {'Content-Type' => 'application/json'}, content => encode_json($asked), data_callback => $read};
    return HTTP::Tiny->new(timeout => 60)->post($URL, $options)->{success};
}

Plack::App::EventSource->new(
    handler_cb => sub {
        my ($conn, $env) = @_;
        my $question = Plack::Request->new($env)->parameters->{question};
        my $is_whole = ask($question, sub { $conn->push({event => 'token', data => shift}) or die "stop\n" });
        $conn->push({event => 'end', data => $is_whole ? 'complete' : 'failed'});
        $conn->close;
    },
)->to_app;
