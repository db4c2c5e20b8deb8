package Testing::SideBySide;
use Testing;
use Testing::SourceTree qw(slurp);

# Cases of a test file that run at the same time, each in a perl of its own. Each is one test of the file: it fails if its perl
# does, and is skipped if that skips everything.
#
#   run_each [Testing::Server->names] => sub { my $name = shift; ... };   # each perl runs this file up to here
#   side_by_side(['a name', '-e', 'the arguments of its perl'], ...);
#
# `prove -b xt/servers/contract.t :: Starman` runs one case of run_each.

use Exporter   qw(import);
use File::Temp ();
use POSIX      ();

our @EXPORT_OK = qw(run_each side_by_side);

our $AT_ONCE = 5;     # most cases wait; a test may set it
our $MAY_BE_EMPTY;    # whether a case may have no tests: it is skipped

sub run_each {
    my ($names, $code) = @_;
    return side_by_side(map { [$_ => $0, $_] } @$names) if !@ARGV;
    for my $name (@ARGV) {
        subtest $name => sub { $code->($name) };
    }
    done_testing;
    exit !Test::More->builder->is_passing;
}

sub side_by_side {
    my @cases = @_;
    my %running;
    while (@cases || %running) {
        while (@cases && keys %running < $AT_ONCE) {
            my $case = _started(shift @cases);
            $running{$case->{pid}} = $case;
        }
        my $case = delete $running{wait()} or next;
        _judge($case, $?);
    }
    return;
}

sub _judge {
    my ($case, $status) = @_;
    my $output = slurp($case->{output}->filename);
    if (!$status && $output =~ /^(?:1[.][.]0|ok 1) # skip (.*)/mi) {
    SKIP: { skip "$case->{name}: $1", 1 }
        return;
    }
    if ($MAY_BE_EMPTY && $output =~ /^1[.][.]0$/m) {
    SKIP: { skip "$case->{name}: it has nothing to test here", 1 }
        return;
    }
    ok !$status && $output =~ /^1[.][.][1-9]/m, $case->{name} or diag "$case->{name}, status $status:\n$output";
    note "$case->{name}: " . (time - $case->{started}) . ' s';
    return;
}

sub _started {
    my ($name, @arguments) = @{$_[0]};
    my $output = File::Temp->new(TEMPLATE => 'case-XXXXXX', TMPDIR => 1);
    defined(my $pid = fork) or die "fork: $!\n";
    return {name => $name, pid => $pid, output => $output, started => time} if $pid;
    open STDOUT, '>&', $output;
    open STDERR, '>&', $output;
    exec {$^X} $^X, (map { "-I$_" } @INC), @arguments or POSIX::_exit(127);
}

1;
