# A language model with the interface of OpenAI, for the recipes tokens and answers: it streams the words of the question.
# After the first word it waits for the file MODEL_GO. A question "endless" is answered until the client disconnects, and
# "silent" with one word, after which the model thinks until then; the file MODEL_STOPPED says so. The questions of %WRONG are
# answered with a word and with that, before the answer ends as others do.

use Testing::Application;
use IO::Select ();
use JSON::PP   qw(decode_json encode_json);
use Plack::Request;
use Testing::Deadline qw(wait_until);

my %WRONG = (
    overloaded => '{"error":"overloaded"}',
    parts      => '{"choices":[{"delta":{"content":[{"type":"text"}]}}]}',
    text       => 'overloaded',
);

sub token { return 'data: ' . encode_json({choices => [{delta => {content => shift}}]}) . "\n\n" }

sub endless {
    my ($writer, $socket, $token) = @_;
    my $has_left = wait_until(20, sub { $writer->write($token); IO::Select->new($socket)->can_read(0.05) });
    open my $file, '>', $ENV{MODEL_STOPPED} or die "$ENV{MODEL_STOPPED}: $!";
    print {$file} $has_left ? 'disconnected' : 'time is up';
    close $file or die $!;
    return;
}

sub {
    my $env   = shift;
    my $asked = decode_json(Plack::Request->new($env)->content);
    my ($first, @words) = split /(?<= )/, $asked->{messages}[0]{content};
    return sub {
        my $writer = shift->([200, ['Content-Type' => 'text/event-stream']]);
        return endless($writer, $env->{'psgix.io'}, token('on and ')) if $first eq 'endless';
        $writer->write(token('hm '))                                  if $first eq 'silent';
        return endless($writer, $env->{'psgix.io'}, ":\n")            if $first eq 'silent';
        $writer->write(token('hm ') . "data: $WRONG{$first}\n\n")     if $WRONG{$first};
        $writer->write('data: {"choices":[{"delta":{"role":"assistant","content":""}}]}' . "\n\n" . token($first));
        wait_until(20, sub { -e $ENV{MODEL_GO} });
        $writer->write(token($_)) for @words;
        $writer->write('data: {"choices":[],"usage":{"total_tokens":9}}' . "\n\n");
        $writer->write("data: [DONE]\n\n");
        $writer->close;
    };
};
