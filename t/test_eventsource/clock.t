# The clock of the day is set while a test or a command waits: the wait is neither longer nor shorter.

use lib 't/lib';
use Testing qw(named_hubs);
use Testing::CommandLine;
use Testing::FakeClock;
use Testing::Program;

Testing::FakeClock->require_or_skip_all;

my $clock = Testing::FakeClock->new(0);
my $shell = Testing::CommandLine->new;
my $hub   = $shell->connect('clock');

sub said {
    my ($program, $line) = @_;
    return wait_until($DEADLINE, sub { $program->log =~ $line });
}

# Waits for a file, and says when the clock has been set meanwhile.
my $WAIT = <<'EOC';
use EventSource::XS::Test::Loop;
use Time::HiRes qw(time);
$| = 1;
my ($file, $seconds) = @ARGV;
my ($last, $is_seen) = (time);
my $condition = sub {
    print "the clock is set\n" if abs(time - $last) > 1_000 && !$is_seen++;
    return -e $file;
};
print "it waits\n";
print EventSource::XS::Test::Loop::wait_for($condition, $seconds) ? "found\n" : "not found\n";
EOC

sub waiting {
    my @arguments = @_;
    $clock->step(0);
    my $program = Testing::Program->start(['-Mblib', '-e', $WAIT, @arguments], $clock->env);
    ok said($program, qr/it waits/), 'a wait begins' or diag $program->log;
    return $program;
}

subtest 'a wait of Test::EventSource' => sub {
    my $folder = new_folder;
    my $long   = waiting("$folder/file", 600);
    $clock->step(3_600);
    ok said($long, qr/is set/), 'the clock is set forward';
    open my $file, '>', "$folder/file" or die $!;
    ok said($long, qr/found/), 'the wait ends';
    unlike $long->log, qr/not found/, 'not before what it waits for';
    my $short = waiting("$folder/none", 2);
    $clock->step(-3_600);
    ok said($short, qr/not found/), 'the clock is set back: the wait ends';
};

subtest 'eventsource tail --timeout' => sub {
    $clock->step(0);
    my $tail = Testing::Program->start(
        ['-Mblib', 'bin/eventsource', qw(tail --hub clock --timeout 3 --data news)],
        EVENTSOURCE_RUNTIME_DIR => $shell->folder,
        $clock->env
    );
    ok wait_until($DEADLINE, sub { $hub->publish(news => 'x'); $tail->log =~ /x/ }), 'it follows' or diag $tail->log;
    $clock->step(-3_600);
    ok wait_until($DEADLINE, sub { $tail->has_ended }), 'it ends although the clock is set back';
};

done_testing;
