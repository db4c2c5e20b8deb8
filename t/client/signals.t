# A handler of a signal that dies while a client waits, connects, reads or parses: its exception reaches the caller of next,
# nothing is lost, and the next call continues.

use lib 't/lib';
use Testing;
use EventSource::Client;
use Testing::ControlledProcess;
use Testing::HostileServer qw(hostile_server);
use Time::HiRes            qw(ITIMER_REAL setitimer);

my $COUNT  = 20_000;
my $EVERY  = 0.0005;                                                     # seconds between two signals
my $STREAM = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";

# The handler throws while next runs, and not again before its exception was caught.
my ($thrown, $caught) = (0, 0);

sub is_in_next {
    for (my $depth = 1; my $name = (caller $depth)[3]; $depth++) { return 1 if $name eq 'EventSource::Client::next' }
    return 0;
}
local $SIG{ALRM} = sub { die {number => ++$thrown} if $thrown == $caught && is_in_next() };

# Returns the result of next, which has thrown nothing but what the handler has.
sub next_of {
    my ($client, @timeout) = @_;
    my $event;
    return $event if eval { $event = $client->next(@timeout); 1 };
    die $@        if ref $@ ne 'HASH';
    $caught++;
    return $event;
}

sub reads_all {
    my ($client, @expected) = @_;
    my @read;
    my $deadline = time + 60;
    setitimer(ITIMER_REAL, $EVERY, $EVERY);
    while ($client->state ne 'closed' && time < $deadline) {
        my $event = next_of($client, 1);
        push @read, $event->{data} if $event;
    }
    setitimer(ITIMER_REAL, 0);
    is $client->state,                         'closed', 'the stream is read to its end';
    is $client->error && $client->error->code, undef,    'the client has had no error';
    return is_deeply \@read, \@expected, 'it has lost no event, and given none twice';
}

subtest 'while a stream is read and parsed' => sub {
    my $server = hostile_server sub {
        print {$_[0]} "$STREAM\r\n", map { "id: $_\ndata: $_\n\n" } 1 .. $COUNT;
    };
    my $client = EventSource::Client->new(url => $server->url('/'), reconnect => 0);
    ($thrown, $caught) = (0, 0);
    reads_all($client, 1 .. $COUNT);
    cmp_ok $thrown, '>', 0, 'signals came';
    is $caught, $thrown, 'each exception of their handler reached the caller of next';
};

subtest 'while a client connects with TLS' => sub {
    plan skip_all => 'IO::Socket::SSL is missing' if !eval { require IO::Socket::SSL; 1 };
    my $listen = Testing::ControlledProcess->listener;    # nobody accepts, so no TLS begins
    my $client = EventSource::Client->new(url => 'https://127.0.0.1:' . $listen->sockport . '/');
    ($thrown, $caught) = (0, 0);
    for my $number (1, 2) {
        setitimer(ITIMER_REAL, 0.1);
        is next_of($client, 5), undef,   'next does not wait on';
        is $caught,             $number, 'the exception reaches its caller';
    }
};

done_testing;
