# The application behind t/clients/openai.t: chat completions as streams, which wait after their first chunk until
# /continue. The streams of /stream/plain have neither ids nor a reconnection time, those of /stream/retry have the latter,
# those of /stream/hub are of a hub, with ids, but without a position.

use strict;
use warnings;
use utf8;

use EventSource::Hub;
use EventSource::XS;
use JSON::PP ();
use Plack::App::EventSource;
use Plack::Builder;
use Plack::Request;

my $JSON = JSON::PP->new->canonical;                                                        # of characters
my $hub  = EventSource::Hub->new(per_process => 1, keepalive => 0.2, position => 'none');
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
        characters => 1,
        keepalive  => 0.2,
        handler_cb => sub {
            my ($conn, $env) = @_;
            my $question = JSON::PP::decode_json(Plack::Request->new($env)->content);
            $conn->push(chunk("$question->{messages}[0]{content}\n"));
            push @held, $conn;
        },
        %option
    )->to_app;
}

my @REST = ((map { chunk($_) } 'one, ', "two,\nthree, ", '☺, ', 'five'), chunk(undef, 'stop'), '[DONE]');

builder {
    mount '/stream/plain/chat/completions' => completions();
    mount '/stream/retry/chat/completions' => completions(retry => 50);
    mount '/stream/hub/chat/completions'   => $hub->to_app(methods => ['POST'], channels => sub { 'answers' });
    mount '/continue'                      => sub {
        EventSource::XS->dispatch;
        for my $conn (splice @held) {
            $conn->push($_) for @REST;
            $conn->close;
        }
        $hub->publish(answers => $_) for chunk("Count to five.\n"), @REST;
        return [200, ['Content-Type' => 'text/plain', 'Content-Length' => 9], ['continued']];
    };
};
