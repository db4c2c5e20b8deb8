# The application of t/native/busy_worker.t: handlers that hold their worker, and the same ones with spawn.

use Testing::Application;
use EventSource::XS::Stream::BusyWorker;
use Plack::App::EventSource;
use Plack::Builder;
use Time::HiRes qw(sleep);

my $PAUSE = 0.02;    # seconds

# Seconds for which a handler may run: that of the job is longer than it takes, and when a sleeping one has run for so long its
# client has left.
my ($LIMIT, $LIMIT_OF_JOB, $LIMIT_OF_SLEEP) = (0.2, 60, 1);

$EventSource::XS::Stream::BusyWorker::GONE_LIMIT = 1;

# The shape of public examples.
sub loop {
    my $conn = shift;
    while (1) { $conn->push("tick of $$"); sleep $PAUSE }
    return;
}

# A job that asks nobody whether its client is there, and ends by itself.
sub job {
    my $conn = shift;
    for my $step (1 .. 50) { $conn->push("step $step"); sleep $PAUSE }
    print STDERR "the job is done\n";
    return;
}

# Pushes nothing while it waits.
sub ask {
    my $conn = shift;
    $conn->push("asks in $$");
    sleep $PAUSE while $conn->is_open;
    return;
}

sub await {
    my $conn = shift;
    $conn->push("waits in $$");
    $conn->wait(undef, 60);
    return;
}

# Pushes nothing, and does not look whether its client is there.
sub sleep_on {
    my $conn = shift;
    $conn->push("sleeps in $$");
    sleep $PAUSE for 1 .. 120;
    return;
}

# The shape for servers with an event loop.
sub by_timer {
    my $conn = shift;
    require AnyEvent;
    my $timer;
    $timer = AnyEvent->timer(after => $PAUSE, cb => sub { undef $timer; $conn->push('by a timer'); $conn->close });
    return;
}

sub source {
    my ($handler, %option) = @_;
    my $limit = delete $option{limit} || $LIMIT;
    my $app   = Plack::App::EventSource->new(handler_cb => $handler, %option)->to_app;
    return sub { $EventSource::XS::Stream::BusyWorker::LIMIT = $limit; return $app->(@_) };
}

builder {
    mount '/ask'     => source(\&ask);
    mount '/asleep'  => source(\&sleep_on, limit => $LIMIT_OF_SLEEP);
    mount '/await'   => source(\&await);
    mount '/timer'   => source(\&by_timer);
    mount '/job'     => source(\&job, limit => $LIMIT_OF_JOB);
    mount '/loop'    => source(\&loop);
    mount '/writer'  => source(\&loop, native  => 0);
    mount '/unwind'  => source(\&loop, on_gone => 'unwind');
    mount '/spawned' => source(\&loop, spawn   => 1);
    mount '/bounded' => source(\&loop, spawn   => {max_children => 1, grace => 1});
    mount '/cannot'  => source(sub { $_[0]->push("runs in $$"); $_[0]->close }, native => 0, spawn => 1);
    mount '/'        => sub { [200, ['Content-Type' => 'text/plain'], [$$]] };
};
