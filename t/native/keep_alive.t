# After a takeover Starman waits for no further request of the client, whose connection it no longer has. Its own
# dispatch_request runs here, with an object as its workers have it.

use lib 't/lib';
use Testing qw(native);
use Plack::App::EventSource;
use Testing::Server;
use Testing::Fork qw(in_child);
use Testing::StreamPair;

if (defined(my $why = Testing::Server->missing('Starman'))) { plan skip_all => $why }
require Starman::Server;

# Runs an application, and returns the client and what Starman knows about it then.
sub dispatched {
    my ($app,    $shows)  = @_;
    my ($number, $client) = Testing::StreamPair->connect;
    open my $io, '+<&=', $number or die "fdopen: $!";
    my $env = {
        REQUEST_METHOD    => 'GET',
        SERVER_PROTOCOL   => 'HTTP/1.1',
        'psgi.errors'     => \*STDERR,
        'psgi.url_scheme' => 'http',
        'psgix.io'        => $shows ? $shows->($io) : $io,
    };
    my $server = bless {app => $app, client => {keepalive => 1}, server => {client => $io}}, 'Starman::Server';
    $server->dispatch_request($env);
    return ($client, $server->{client}{keepalive}, $server);
}

sub stream {
    my %attribute = @_;
    return Plack::App::EventSource->new(
        native     => 'quiet',
        handler_cb => sub { $_[0]->push($_[0]->is_native ? 'native' : 'writer') },
        %attribute
    )->to_app;
}

sub same_descriptor {
    open my $handle, '+<&=', fileno shift or die "fdopen: $!";
    return $handle;
}

# The first server of a process is the one that is known, so each case has a process of its own.
my %CASE = (
    'a native stream'                 => [stream(),                        0, qr/data: native/],
    "a stream on the server's writer" => [stream(native => 0),             1, qr/data: writer/],
    'an ordinary response'            => [sub { [200, [], ['ordinary']] }, 1, qr/ordinary/],
    'another handle of the client'    => [stream(),                        1, qr/data: native/, \&same_descriptor],
);

for my $name (sort keys %CASE) {
    my ($app, $expected, $text, $shows) = @{$CASE{$name}};
    subtest $name => sub {
        my $ended = in_child sub {
            my ($client, $waits) = dispatched($app, $shows);
            return ($client->read_until($text) ? 'received' : 'not received', $waits);
        };
        is $ended->(), "received $expected", $expected ? 'Starman waits' : 'Starman does not wait';
    };
}

done_testing;
