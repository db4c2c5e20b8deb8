# Streams that have ended leave nothing behind: no memory of Perl's, none of the process, no descriptor.

use lib 't/lib';
use Testing qw(native);
use EventSource::XS;
use Testing::Process qw(descriptors_of memory_of);
use Testing::StreamPair;
use Plack::App::EventSource::Connection;
use Socket qw(AF_UNIX PF_UNSPEC SOCK_STREAM);

my $STREAMS = 10_000;
my $AT_ONCE = 100;
my $REACTOR = 2;        # descriptors of the thread that writes
my $MEMORY  = 4;        # megabytes by which the process may grow in that time: a hundredth of what a leak would take

my %SETTINGS = (is_loop => 0, keepalive => 15, linger => 0, on_full => 'block');

my $told = 0;

# Streams that are open at once, and end: by their clients, by close, by being dropped.
sub live_and_end {
    my $count = shift;
    my (@connections, @clients);
    for my $number (1 .. $count) {
        socketpair my $client, my $server, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!";
        my $socket = EventSource::XS::_duplicate(fileno $server);
        my $stream = Testing::StreamPair->stream($socket, %SETTINGS);
        my $conn   = Plack::App::EventSource::Connection->new(stream => $stream);
        my %held   = (number => $number);
        $conn->on_close(sub { $told += !!$held{number} });
        $conn->push({id => $number, data => 'x' x 1_000}) or die "not taken\n";
        $conn->close if $number % 3 == 1;
        push @clients,     $client;
        push @connections, $conn if $number % 3;
    }
    for my $number (1 .. $count) { close $clients[$number - 1] if $number % 3 == 2 }
    my $until = $told + $count;
    wait_until($DEADLINE, sub { EventSource::XS->dispatch; $told >= $until }) or die "no ends\n";
    return;
}

my $before = descriptors_of($$);

SKIP: {
    if (!eval { require Test::LeakTrace; 1 }) {
        fail 'there is no Test::LeakTrace' if $ENV{EVENTSOURCE_XS_FULL};
        skip 'there is no Test::LeakTrace here', 1;
    }
    live_and_end(3);
    Test::LeakTrace::no_leaks_ok(sub { live_and_end(30) }, 'streams that have ended leave no scalar');
    eval { Testing::StreamPair->stream(1_000_000, %SETTINGS) };    # the first exception fills caches of Carp
    Test::LeakTrace::no_leaks_ok(
        sub {
            my $stream = eval { Testing::StreamPair->stream(1_000_000, %SETTINGS) };
            die "opened\n" if $stream;
        },
        'a stream that cannot be opened leaves no scalar'
    );
}

live_and_end($AT_ONCE) for 1 .. 10;
my ($memory) = memory_of($$);
$told = 0;
live_and_end($AT_ONCE) for 1 .. $STREAMS / $AT_ONCE;
is $told, $STREAMS, 'on_close is called for every stream';
wait_until($DEADLINE, sub { descriptors_of($$) == $before + $REACTOR });
is descriptors_of($$), $before + $REACTOR, 'no descriptor is left except those of the reactor';
cmp_ok + (memory_of($$))[0] - $memory, '<', $MEMORY, "the process has not grown by more than $MEMORY MB";
is(EventSource::XS->stats->{native}, 0, 'no stream is left');

done_testing;
