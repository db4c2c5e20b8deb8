package Measure;
use strict;
use warnings;

# The steps of the benchmarks, for any target: open streams, push to them, close them, in turns with other targets. A target
# has the methods name, port, cpu, held, push and native, and number if its events are not numbered by their ids.
#
#   my $client = open_streams($target, 1_000);
#   my $got    = deliver($target, $client, rounds => 10, interval => 0, bytes => 64);
#   close_streams($target, $client);
#   print map { "! $_\n" } failures();

use Testing::Deadline qw(wait_until);
use Exporter          qw(import);
use Load;

our @EXPORT_OK = qw(close_streams deliver have_descriptors in_turns note_failure open_streams succeeded failures);

my $OPEN_WITHIN  = 120;    # seconds
my $LEAVE_WITHIN = 60;     # seconds

my @failures;

# Public functions

sub failures { return @failures }

sub close_streams {
    my ($target, $client) = @_;
    $client->stop;
    return if wait_until($LEAVE_WITHIN, sub { $target->held == 0 });
    note_failure($target->name, 'holds ' . $target->held . ' streams whose clients have left');
    return;
}

# Pushes to all streams and waits until everything is received, at most `timeout` seconds, and with `quiet` until nothing was
# received for so many seconds. Returns the client's counts and the costs. `then` is called when the target has pushed. Lost
# events are a failure unless `may_lose` is true.
sub deliver {
    my ($target, $client, %plan) = @_;
    my $seconds = ($plan{timeout} || 120) + 3 * $plan{rounds} * $plan{interval};
    $client->ask("expect $plan{rounds} $seconds " . ($plan{quiet} || $seconds), $OPEN_WITHIN);
    my $cpu    = $target->cpu;
    my $pushed = $target->push(%plan);
    my $then   = $plan{then} && $plan{then}->($target);
    my $got    = $client->answer($seconds + 30);
    $cpu = $target->cpu - $cpu;
    my $all  = $got->{streams} * $plan{rounds};
    my $lost = $all - $got->{received};
    note_failure($target->name, "$lost of $all events were not received") if $lost && !$plan{may_lose};

    for my $what ($plan{may_lose} ? qw(duplicates malformed) : qw(gaps duplicates malformed)) {
        note_failure($target->name, "$what: $got->{$what}") if $got->{$what};
    }
    my $million = ($got->{received} || 1) / 1e6;
    return {
        %$got,
        then          => $then,
        pushed        => $pushed,
        late          => $pushed->{late},
        lost          => $lost,
        cpu_a_million => $cpu / $million
    };
}

# Raises the limit of descriptors, since a stream may need two. The shell can do it, perl cannot, so the program is started
# again by a shell unless that has been done.
sub have_descriptors {
    my ($program, @arguments) = @_;
    return if $ENV{BENCH_HAS_DESCRIPTORS}++;
    exec 'sh', '-c', 'ulimit -n "$(ulimit -H -n)"; exec "$@"', 'sh', $^X, $program, @arguments or die "sh: $!\n";
}

# Measures every target once in each turn. A target that fails is left out of later turns.
sub in_turns {
    my ($turns, $measure, @names) = @_;
    @names = succeeded($measure, @names) for 1 .. $turns;
    return;
}

# Starts a client and waits until its streams are open. $idle of them are never read.
sub open_streams {
    my ($target, $streams, $idle) = @_;
    my %option = (port => $target->port, streams => $streams, 'idle-readers' => $idle || 0, seconds => 3_600);
    $option{number} = $target->number if $target->can('number');
    my $client = Load->start('client', %option);
    my $opened = $client->answer($OPEN_WITHIN);
    note_failure($target->name, "$opened->{failed} of $streams streams were not opened") if $opened->{failed};
    my $native = $target->native;
    note_failure($target->name, "only $native of $streams streams are native")
        if defined $native && $native < $opened->{opened};
    return $client;
}

# Runs the code with each name. Returns the names for which it did not die.
sub succeeded {
    my ($code, @names) = @_;
    my @fine;
    for my $name (@names) {
        if (eval { $code->($name); 1 }) {
            push @fine, $name;
        }
        else { note_failure($name, $@ =~ s/ at \S+ line \d+\.?\n\z//r) }
    }
    return @fine;
}

sub note_failure {
    my ($name, $what) = @_;
    push @failures, "$name: $what";
    return;
}

1;
