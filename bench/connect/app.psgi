# The application of bench/connect/run. Every way sends the same headers and one event.
#
#   GET /native     a native stream, which is held
#   GET /stepwise   the same, without the takeover in one call
#   GET /writer     a stream on the server's writer, which is held
#   GET /plain      the responder and the writer without this module, as the original Plack::App::EventSource has it
#   GET /ordinary   an ordinary response
#   GET /stats      the process id and the number of native streams

use strict;
use warnings;

use EventSource::XS ();
use Plack::App::EventSource;

my $DATA    = 'x' x 20;
my @HEADERS = (
    'Content-Type'                 => 'text/event-stream; charset=UTF-8',
    'Cache-Control'                => 'no-store, no-cache, must-revalidate, max-age=0',
    'Access-Control-Allow-Methods' => 'GET',
    'X-Accel-Buffering'            => 'no',
);

my @held;

sub handle {
    my $conn = shift;
    $conn->push($DATA);
    push @held, $conn;
    return;
}

sub ordinary { return [200, [@HEADERS], ["data: $DATA\r\n\r\n"]] }

# What the original does, without its classes: it writes the line and the end of the event one after the other.
sub plain {
    return sub {
        my $respond = shift;
        my $writer  = $respond->([200, [@HEADERS]]);
        my $push    = sub {
            $writer->write("data: $_\r\n") for @_;
            $writer->write("\r\n");
        };
        $push->($DATA);
        push @held, $push;
        return;
    };
}

sub stats {
    my $text = "$$ " . EventSource::XS->stats->{native};
    return [200, ['Content-Type' => 'text/plain', 'Content-Length' => length $text], [$text]];
}

my %app = (
    '/native'   => Plack::App::EventSource->new(handler_cb => \&handle)->to_app,
    '/writer'   => Plack::App::EventSource->new(handler_cb => \&handle, native => 0)->to_app,
    '/ordinary' => \&ordinary,
    '/plain'    => \&plain,
    '/stats'    => \&stats,
);

my $native = $app{'/native'};
$app{'/stepwise'} = sub {
    my $response = $native->(shift);
    return sub { local $EventSource::XS::Stream::TAKES_PLAINLY = 0; return $response->(@_) };
};

sub { $app{$_[0]{PATH_INFO}}->($_[0]) };
