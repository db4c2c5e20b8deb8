# Two hundred forks while events are pushed to hundreds of streams: no process hangs, and no event reaches another stream.

use lib 't/lib';
use Testing qw(native);
use EventSource::XS;
use Testing::StreamPair;
use POSIX   qw(WNOHANG _exit);
use sigtrap qw(die untrapped HUP INT TERM);

my $DEADLINE = 60;    # seconds
my $STREAMS  = 300;
my $FORKS    = 200;
my $OWN      = 10;    # streams of a child's own, now and then

my %running;
my $owner = $$;

END {
    if ($$ == $owner) { local $?; kill KILL => keys %running if %running }
}

sub reap {
    my $how = shift;
    my $odd = 0;
    while (%running) {
        my $pid = waitpid -1, $how;
        last   if $pid <= 0;
        $odd++ if $?;
        delete $running{$pid};
    }
    return $odd;
}

# The actions of a child: nothing, a stream of its own, dropping all streams, a child of its own, exec, exit.
my @CHILD = (
    sub { },
    sub {
        my ($stream, $client) = Testing::StreamPair->open;
        $stream->write("data: own $_\n\n") for 1 .. $OWN;
        $stream->close;
        $client->read_all && $client->body eq join '', map { "data: own $_\n\n" } 1 .. $OWN or die "mixed up\n";
    },
    sub { @{$_[0]} = () },
    sub {
        defined(my $pid = fork) or die "fork: $!";
        _exit(0) if !$pid;
        waitpid $pid, 0;
    },
    sub { exec 'true' or die "true: $!\n" },
    sub { exit },
);

my @pairs  = map { [Testing::StreamPair->open(max_buffered => 64 * 1_048_576)] } 1 .. $STREAMS;
my $number = 0;
my $odd    = 0;

sub push_to_all {
    $number++;
    for my $at (0 .. $#pairs) { $pairs[$at][0]->write("data: $at $number " . 'x' x ($number * 7 % 900) . "\n\n") }
    return;
}

for my $count (1 .. $FORKS) {
    push_to_all();
    defined(my $pid = fork) or die "fork: $!";
    if (!$pid) {
        my $ended = eval { $CHILD[$count % @CHILD]->(\@pairs); 1 };
        print STDERR "a child died: $@" if !$ended;
        _exit(!$ended);
    }
    $running{$pid} = 1;
    push_to_all();
    $odd += reap(WNOHANG);
}
ok wait_until($DEADLINE, sub { $odd += reap(WNOHANG); !%running }), 'all children have ended';
is $odd, 0, 'no child fails';
push_to_all();
$_->[0]->close for @pairs;
my @wrong;
for my $at (0 .. $#pairs) {
    my $expected = join '', map { "data: $at $_ " . 'x' x ($_ * 7 % 900) . "\n\n" } 1 .. $number;
    my $client   = $pairs[$at][1];
    push @wrong, $at if !$client->read_all($DEADLINE) || $client->body ne $expected;
}
is_deeply \@wrong, [], 'each stream has all of its own events, once';
my $stats = EventSource::XS->stats;
is $stats->{events}, $STREAMS * $number, 'stats counts every event';
is $stats->{lost},   0,                  'stats counts no lost event';

done_testing;
