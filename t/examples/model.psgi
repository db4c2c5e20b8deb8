# A language model with the interface of OpenAI, for the recipe tokens: it streams the words of the question. After the
# first word it waits for the file MODEL_GO. A question "endless" is answered until the client disconnects; then the file
# MODEL_STOPPED appears.

use strict;
use warnings;

use IO::Select ();
use JSON::PP   qw(decode_json encode_json);
use Plack::Request;
use Testing::Deadline qw(wait_until);

sub token { return 'data: ' . encode_json({choices => [{delta => {content => shift}}]}) . "\n\n" }

sub endless {
    my ($writer, $socket) = @_;
    my $has_left = wait_until(20, sub { $writer->write(token('on and ')); IO::Select->new($socket)->can_read(0.05) });
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
        return endless($writer, $env->{'psgix.io'}) if $first eq 'endless';
        $writer->write('data: {"choices":[{"delta":{"role":"assistant","content":""}}]}' . "\n\n" . token($first));
        wait_until(20, sub { -e $ENV{MODEL_GO} });
        $writer->write(token($_)) for @words;
        $writer->write("data: [DONE]\n\n");
        $writer->close;
    };
};
