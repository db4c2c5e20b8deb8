# A stream on the server's writer without a known event loop: dispatch copies the events of the hub to the writer.

use lib 't/lib';
use Testing       qw(native);
use Testing::Fork qw(in_child);
use EventSource::XS;
use EventSource::Hub;
use Testing::Subscriber qw(blocks);
use Plack::App::EventSource;

package Writer {
    sub new   { return bless {out => '', is_closed => 0}, shift }
    sub close { $_[0]{is_closed} = 1; return }
    sub write { $_[0]{out} .= $_[1];  return }
}

my $hub    = EventSource::Hub->new;
my $writer = Writer->new;
my $conn;
my $app = Plack::App::EventSource->new(
    native     => 0,
    handler_cb => sub { $conn = shift; $hub->subscribe($conn, 'a'); return },
)->to_app;
my %env = (
    'REQUEST_METHOD'   => 'GET',
    'psgi.errors'      => \*STDERR,
    'psgi.nonblocking' => 1,
    'psgi.streaming'   => 1,
    'psgi.url_scheme'  => 'http',
);
$app->(\%env)->(sub { return $writer });

sub numbers {
    return map { $_->{data} } grep { defined $_->{data} } blocks($writer->{out});
}

# Waits until the writer has that many events.
sub gives {
    my $count = shift;
    return wait_until(10, sub { EventSource::XS->dispatch; return numbers() >= $count });
}

$hub->publish(a => 1);
ok gives(1), 'dispatch copies a published event to the writer';

subtest 'a forked child takes no events from its parent' => sub {
    $hub->publish(a => $_) for 2 .. 4;
    is $hub->stats->{delivered},                                          4, 'the hub counts four delivered events';
    is in_child(sub { EventSource::XS->dispatch; return numbers() })->(), 1, 'dispatch in a child copies nothing';
    ok gives(4), 'dispatch in the parent copies the events after the fork';
    is_deeply [numbers()], [1 .. 4], 'the writer of the parent has all events once';
};

$conn->close;
ok wait_until(10, sub { EventSource::XS->dispatch; return $writer->{is_closed} }), 'close ends the stream';

done_testing;
