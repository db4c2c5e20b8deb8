# The application behind xt/clients/openai.t: chat completions as streams, which wait after their first chunk until
# /continue. The streams of /stream/plain have neither ids nor a reconnection time, those of /stream/all have both, and comments
# that are pushed; those of /stream/hub are of a hub, with ids and a reconnection time, but without a position.

use strict;
use warnings;
use utf8;

use EventSource::Hub;
use EventSource::XS;
use JSON::PP ();
use Plack::App::EventSource;
use Plack::Builder;
use Plack::Request;

my $JSON = JSON::PP->new->canonical;                                                                     # of characters
my $hub  = EventSource::Hub->new(per_process => 1, keepalive => 0.2, position => 'none', retry => 50);
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
            my $first    = chunk("$question->{messages}[0]{content}\n");
            $conn->push(defined $option{retry} ? {id => 'first', data => $first} : $first);
            push @held, [$conn, defined $option{retry}];
        },
        %option
    )->to_app;
}

my @REST = ((map { chunk($_) } 'one, ', "two,\nthree, ", '☺, ', 'five'), chunk(undef, 'stop'), '[DONE]');

builder {
    mount '/stream/plain/chat/completions' => completions();
    mount '/stream/all/chat/completions'   => completions(retry => 50);
    mount '/stream/hub/chat/completions'   => $hub->to_app(methods => ['POST'], channels => sub { 'answers' });
    mount '/continue'                      => sub {
        EventSource::XS->dispatch;
        for my $held (splice @held) {
            my ($conn, $has_comments) = @$held;
            for my $data (@REST) {
                $conn->push({comment => "no\nevent"}) if $has_comments;
                $conn->push($data);
            }
            $conn->close;
        }
        $hub->publish(answers => $_) for chunk("Count to five.\n"), @REST;
        return [200, ['Content-Type' => 'text/plain', 'Content-Length' => 9], ['continued']];
    };
};
