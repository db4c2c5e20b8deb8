# EventSource::XS::Signals: a handler that dies leaves no signal blocked, whenever its signal comes.

use lib 't/lib';
use Testing;
use EventSource::XS::Signals qw(without_signals);
use POSIX                    qw(SIGALRM SIG_BLOCK sigprocmask);
use Time::HiRes              qw(ualarm);

sub blocks_alarm {
    my $mask = POSIX::SigSet->new;
    sigprocmask(SIG_BLOCK, POSIX::SigSet->new, $mask);
    return $mask->ismember(SIGALRM);
}

is without_signals(sub { 'the result' }), 'the result', 'the result of the code is returned';
ok !eval {
    without_signals(sub { die "its exception\n" });
    1;
},
    'the code may die';
is $@, "its exception\n", 'of its own exception';
ok !blocks_alarm(), 'signals are not blocked after it';

my ($inside, $interrupted, $rounds) = (0, 0, 2_000);
for my $round (1 .. $rounds) {
    my $is_inside;
    local $SIG{ALRM} = sub { $inside++ if $is_inside; die "interrupted\n" };
    my $is_done = eval {
        ualarm 1 + int rand 200;
        without_signals(sub { $is_inside = 1; $is_inside = 0 }) while 1;
        1;
    };
    $interrupted++ if !$is_done && $@ eq "interrupted\n";
    last           if blocks_alarm();
}
is $interrupted, $rounds, 'each handler has died, and none has left its signal blocked';
is $inside,      0,       'none has run in the code';

# The default action of SIGPIPE ends a process. Its status is 0 if it has survived.
my $write = 'pipe my $in, my $out; close $in; without_signals(sub { local $SIG{PIPE} = "IGNORE"; syswrite $out, "x" })';
is system($^X, '-MEventSource::XS::Signals=without_signals', '-e', $write), 0, 'a write may ignore SIGPIPE in the code';
done_testing;
