# The application of t/stream/fallback.t: streams that are not native, each for a reason of its own.

use Testing::Application qw(answer);
use EventSource::XS;
use Plack::App::EventSource;
use Plack::Builder;
use Time::HiRes qw(sleep time);

sub stream {
    return Plack::App::EventSource->new(handler_cb => sub { $_[0]->push('x'); $_[0]->close }, @_)->to_app;
}

my @LARGE = map { ("X-Large-$_" => 'x' x 1000) } 1 .. 40;

# Says that it waits, and responds when the client has left, or after ten seconds.
sub after_the_client {
    my $app = shift;
    return sub {
        my $env      = shift;
        my $response = $app->($env);
        return sub {
            my $respond = shift;
            $response->(
                sub {
                    my $until = time + 10;
                    $env->{'psgi.errors'}->print("waiting for the client to leave\n");
                    my $number = fileno $env->{'psgix.io'};
                    sleep 0.01 until EventSource::XS::_has_left($number) || time > $until;
                    return $respond->(@_);
                }
            );
        };
    };
}

builder {
    mount '/native'   => stream();
    mount '/deflated' => builder { enable 'Deflater'; stream() };
    mount '/filtered' => builder {
        enable 'SimpleContentFilter', filter => sub { };
        stream()
    };
    mount '/quiet' => builder {
        enable 'SimpleContentFilter', filter => sub { };
        stream(native => 'quiet')
    };
    mount '/never' => stream(native  => 0);
    mount '/large' => stream(headers => \@LARGE);
    mount '/left'  => builder { enable \&after_the_client; stream(headers => \@LARGE) };
    mount '/pid'   => sub { answer($$) };
};
