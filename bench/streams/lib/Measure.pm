package Measure;
use strict;
use warnings;

# What the benchmarks of streams do with a target, whatever it is: open streams at it, push to them, in turns with others.
# A target answers name, port, cpu, held, push and native; and number, where its events are numbered elsewhere than in the id.
#
#   my $client = open_streams($target, 1_000);
#   my $got    = deliver($target, $client, rounds => 10, interval => 0, bytes => 64);
#   close_streams($target, $client);
#   print map { "! $_\n" } troubles();

use Testing::Deadline qw(wait_until);
use Exporter          qw(import);
use Load;

our @EXPORT_OK = qw(close_streams deliver have_descriptors in_turns open_streams tried trouble troubles);

my $OPEN_WITHIN  = 120;    # seconds
my $LEAVE_WITHIN = 60;     # seconds

my @troubles;

# Public functions

sub close_streams {
    my ($target, $client) = @_;
    $client->stop;
    return if wait_until($LEAVE_WITHIN, sub { $target->held == 0 });
    trouble($target->name, 'holds ' . $target->held . ' streams whose clients have left');
    return;
}

# Pushes to all streams and waits until everything has come, or until it takes longer than `patience`, or, with `quiet`,
# until nothing has come for so many seconds; then says what came and what it cost. `then` is called when the target has
# pushed. That something is lost is trouble, unless `may_lose` is true.
sub deliver {
    my ($target, $client, %plan) = @_;
    my $seconds = ($plan{patience} || 120) + 3 * $plan{rounds} * $plan{interval};
    $client->ask("expect $plan{rounds} $seconds " . ($plan{quiet} || $seconds), $OPEN_WITHIN);
    my $cpu    = $target->cpu;
    my $pushed = $target->push(%plan);
    my $then   = $plan{then} && $plan{then}->($target);
    my $got    = $client->answer($seconds + 30);
    $cpu = $target->cpu - $cpu;
    my $all  = $got->{streams} * $plan{rounds};
    my $lost = $all - $got->{received};
    trouble($target->name, "$lost events of $all have not come") if $lost && !$plan{may_lose};

    for my $what ($plan{may_lose} ? qw(duplicates malformed) : qw(gaps duplicates malformed)) {
        trouble($target->name, "$what: $got->{$what}") if $got->{$what};
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

# Everything may need two descriptors a stream; the shell can raise the limit, perl cannot. Starts the program again with
# its arguments if that has not been done.
sub have_descriptors {
    my ($program, @arguments) = @_;
    return if $ENV{BENCH_HAS_DESCRIPTORS}++;
    exec 'sh', '-c', 'ulimit -n "$(ulimit -H -n)"; exec "$@"', 'sh', $^X, $program, @arguments or die "sh: $!\n";
}

# Measures every target once in each turn.
sub in_turns {
    my ($turns, $measure, @names) = @_;
    @names = tried($measure, @names) for 1 .. $turns;
    return;
}

# A client with its streams open, so many of them never read.
sub open_streams {
    my ($target, $streams, $idle) = @_;
    my %option = (port => $target->port, streams => $streams, 'idle-readers' => $idle || 0, seconds => 3_600);
    $option{number} = $target->number if $target->can('number');
    my $client = Load->start('client', %option);
    my $opened = $client->answer($OPEN_WITHIN);
    trouble($target->name, "$opened->{failed} of $streams streams were not opened") if $opened->{failed};
    my $native = $target->native;
    trouble($target->name, "only $native of $streams streams are native")
        if defined $native && $native < $opened->{opened};
    return $client;
}

# Does the same with each name; those that fail are left out from there on.
sub tried {
    my ($code, @names) = @_;
    my @fine;
    for my $name (@names) {
        if (eval { $code->($name); 1 }) {
            push @fine, $name;
        }
        else { trouble($name, $@ =~ s/ at \S+ line \d+\.?\n\z//r) }
    }
    return @fine;
}

# Notes that something is not as it should be.
sub trouble {
    my ($name, $what) = @_;
    push @troubles, "$name: $what";
    return;
}

sub troubles { return @troubles }

1;
