# The application of bench/streams/run. It holds every open stream, and pushes to all of them on request.
#
#   GET  /events                                  a stream; it is held until it ends
#   POST /push?rounds=R&interval=S&bytes=B        pushes R events to every stream, S seconds apart or flat out if S is 0,
#                                                 each with B bytes of data; answers when all are pushed
#                                                 (with BENCH_HUB: publishes each once for all streams; with
#                                                 unawaited=1 by wait => 0)
#   POST /say                                     publishes an event of the hub whose data is the body
#   GET  /plain                                   an ordinary request
#   GET  /stats                                   the streams, CPU time and memory of this process
#
# An event's id is a number that grows by one with each round. Its data begins with two times in nanoseconds of
# CLOCK_MONOTONIC: when the round was due, and when this push began. BENCH_NATIVE is the attribute native of
# Plack::App::EventSource if it has one; 0 is the server's own writer. With BENCH_HUB the streams are those of a hub,
# and with BENCH_HUB_SOCKET, its socket, the hub has a hub process, which it starts unless BENCH_HUB_IS_STARTED is set;
# BENCH_TICKET is the ticket of to_app. BENCH_ASKED is a file that gets a byte with each request for a stream of the
# hub.

use strict;
use warnings;

use EventSource::XS ();
use JSON::PP        ();
use Plack::App::EventSource;
use Plack::Builder;
use Scalar::Util qw(refaddr);
use Time::HiRes  qw(CLOCK_MONOTONIC CLOCK_PROCESS_CPUTIME_ID clock_gettime sleep);

my $hub;
if ($ENV{BENCH_HUB}) {
    require EventSource::Hub;
    my $history = {events => 100_000, bytes => 100_000_000};
    my %process = $ENV{BENCH_HUB_SOCKET} ? (name => 'bench', socket => $ENV{BENCH_HUB_SOCKET}) : ();
    $process{autostart} = 0 if $ENV{BENCH_HUB_IS_STARTED};
    $hub = EventSource::Hub->new(keep_history => $history, keep_total_history => $history, per_process => 1, %process);
}

my $asked;
if ($ENV{BENCH_ASKED}) { open $asked, '>>', $ENV{BENCH_ASKED} or die "$ENV{BENCH_ASKED}: $!\n" }

my %held;    # connections by address
my $last_id = 0;

sub hold {
    my $conn = shift;
    $held{refaddr $conn} = $conn;
    $conn->on_close(\&release);
    return;
}

sub release { return delete $held{refaddr $_[0]} }

sub channels {
    syswrite $asked, '.' if $asked;
    return 'all';
}

sub now_ns { return clock_gettime(CLOCK_MONOTONIC) * 1e9 | 0 }

sub cpu { return clock_gettime(CLOCK_PROCESS_CPUTIME_ID) }    # all threads

# Pushes one event to every stream. The loop is what is measured, so everything else is computed before it.
sub push_round {
    my $job  = shift;
    my $id   = ++$last_id;
    my $head = ($job->{due} * 1e9 | 0) . ' ';
    my $rest = $job->{bytes} - 2 * length $head;
    my $tail = ' ' . ($rest > 0 ? 'x' x $rest : '');
    if ($hub) {
        my $data = $head . (clock_gettime(CLOCK_MONOTONIC) * 1e9 | 0) . $tail;
        $hub->publish(all => $data, {wait => !$job->{unawaited}});
        $job->{pushed}++;
    }
    for my $conn (values %held) {
        my $data = $head . (clock_gettime(CLOCK_MONOTONIC) * 1e9 | 0) . $tail;
        if   ($conn->push({id => $id, data => $data})) { $job->{pushed}++ }
        else                                           { $job->{refused}++ }
    }
    $job->{rounds}--;
    my $now = clock_gettime(CLOCK_MONOTONIC);
    $job->{due} = $job->{interval} ? $job->{due} + $job->{interval} : $now;
    $job->{late}++ if $now > $job->{due};
    return $job->{rounds} > 0;
}

sub pause_of {
    my $pause = $_[0]{due} - clock_gettime(CLOCK_MONOTONIC);
    return $pause > 0 ? $pause : 0;
}

sub json {
    my $bytes = JSON::PP->new->canonical->encode(shift);
    return [200, ['Content-Type' => 'application/json', 'Content-Length' => length $bytes], [$bytes]];
}

sub answer_of {
    my $job = shift;
    return json(
        {
            pushed  => $job->{pushed},
            refused => $job->{refused},
            late    => $job->{late},
            cpu     => cpu() - $job->{cpu},
            seconds => clock_gettime(CLOCK_MONOTONIC) - $job->{since},
        }
    );
}

# On a server with an event loop each round has a turn of the loop. Otherwise nothing would be sent before the last round. A
# timer may fire early, since the loop's time is that of the beginning of its turn.
sub in_turns {
    my ($job, $after, $respond) = @_;
    my ($timer, $turn);
    $turn = sub {
        undef $timer;
        return $timer = $after->(pause_of($job), $turn) if pause_of($job) > 0 || push_round($job);
        undef $turn;
        return $respond->(answer_of($job));
    };
    return $turn->();
}

sub push_all {
    my $env   = shift;
    my %query = $env->{QUERY_STRING} =~ /(\w+)=([0-9.]+)/g;
    my $now   = clock_gettime(CLOCK_MONOTONIC);
    my %job   = (rounds => 1, interval => 0, bytes => 64, %query, due => $now, since => $now, cpu => cpu());
    @job{qw(pushed refused late)} = (0, 0, 0);
    if ($env->{'psgi.nonblocking'}) {
        my $is_feersum = exists $env->{'psgix.output.guard'};
        my $after      = $is_feersum ? sub { EV::timer($_[0], 0, $_[1]) } : sub { AE::timer($_[0], 0, $_[1]) };
        return sub { in_turns(\%job, $after, shift) };
    }
    while (push_round(\%job)) {
        my $pause = pause_of(\%job);
        sleep $pause if $pause > 0;    # a sleep of no time would still give up the processor
    }
    return answer_of(\%job);
}

sub say {
    my $env = shift;
    read $env->{'psgi.input'}, my $data, $env->{CONTENT_LENGTH};
    $hub->publish(all => $data);
    return [200, ['Content-Type' => 'text/plain', 'Content-Length' => 0], []];
}

# Returns the resident memory of this process in bytes, shared memory included.
sub resident_bytes {
    open my $from, '<', '/proc/self/smaps_rollup' or return;
    my ($kilobytes) = join('', readline $from) =~ /^Rss:\s+([0-9]+) kB/m;
    return $kilobytes * 1024;
}

sub stats {
    EventSource::XS->dispatch;    # runs on_close of the streams that have ended
    my %stats = (pid => $$, held => scalar keys %held, cpu => cpu(), resident_bytes => resident_bytes());
    $stats{native} = grep { $_->can('is_native') && $_->is_native } values %held;
    $stats{held}   = $stats{native} = $hub->stats->{streams} if $hub;
    $stats{module} = EventSource::XS->stats                  if EventSource::XS->can('stats');
    return json(\%stats);
}

my %native = Plack::App::EventSource->can('native') ? (native => $ENV{BENCH_NATIVE} // 'auto') : ();

builder {
    mount '/events' => $hub
        ? $hub->to_app(channels => \&channels, $ENV{BENCH_TICKET} ? (ticket => $ENV{BENCH_TICKET}) : ())
        : Plack::App::EventSource->new(handler_cb => \&hold, %native)->to_app;
    mount '/push'  => \&push_all;
    mount '/say'   => \&say;
    mount '/plain' => sub { [200, ['Content-Type' => 'text/plain', 'Content-Length' => 5], ['plain']] };
    mount '/stats' => \&stats;
};
