# The application behind t/clients/openai.t: chat completions as streams, which wait after their first chunk until
# /continue. The streams of /stream/plain have neither ids nor a reconnection time, those of /stream/retry have the latter.

use strict;
use warnings;
use utf8;

use EventSource::XS;
use JSON::PP ();
use Plack::App::EventSource;
use Plack::Builder;
use Plack::Request;

my $JSON = JSON::PP->new->canonical->utf8;
my @held;

sub chunk {
    my ($content, $finish) = @_;
    my %choice = (index => 0, delta => {content => $content}, finish_reason => $finish);
    return $JSON->encode(
        {id => 'chat-1', object => 'chat.completion.chunk', created => 1, model => 'none', choices => [\%choice]});
}

sub completions {
    my %option = @_;
    return Plack::App::EventSource->new(
        methods    => ['POST'],
        keepalive  => 0.2,
        handler_cb => sub {
            my ($conn, $env) = @_;
            my $question = $JSON->decode(Plack::Request->new($env)->content);
            $conn->push(chunk("$question->{messages}[0]{content}\n"));
            push @held, $conn;
        },
        %option
    )->to_app;
}

builder {
    mount '/stream/plain/chat/completions' => completions();
    mount '/stream/retry/chat/completions' => completions(retry => 50);
    mount '/continue'                      => sub {
        EventSource::XS->dispatch;
        for my $conn (splice @held) {
            $conn->push($_) for map { chunk($_) } 'one, ', "two,\nthree, ", '☺, ', 'five';
            $conn->push(chunk(undef, 'stop'));
            $conn->push('[DONE]');
            $conn->close;
        }
        return [200, ['Content-Type' => 'text/plain', 'Content-Length' => 9], ['continued']];
    };
};
