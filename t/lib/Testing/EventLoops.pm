package Testing::EventLoops;
use strict;
use warnings;

# The event loops that an application may run in, for programs that a test writes: pieces of Perl.
#
#   my %loop = event_loops();
#   my $program = join "\n", 'my $DEADLINE = 10;', $loop{EV}{begin}, ..., $loop{EV}{run};

use Exporter qw(import);

our @EXPORT_OK = qw(event_loops);

# How each loop is begun, how it runs until it is stopped, but not beyond $DEADLINE, and how it stops. It may run again.
my %LOOP = (
    'AnyEvent' => {
        begin => 'use AnyEvent; my $cv = AnyEvent->condvar;',
        run   => 'my $end = AnyEvent->timer(after => $DEADLINE, cb => sub { $cv->send }); $cv->recv; $cv = AE::cv();',
        stop  => '$cv->send;',
    },
    'EV' => {
        begin => 'use EV;',
        run   => 'my $end = EV::timer($DEADLINE, 0, sub { EV::break() }); EV::run();',
        stop  => 'EV::break();',
    },
    'Mojo::IOLoop' => {
        begin => 'use Mojo::IOLoop;',
        run   => 'my $end = Mojo::IOLoop->timer($DEADLINE => sub { Mojo::IOLoop->stop }); Mojo::IOLoop->start;'
            . 'Mojo::IOLoop->remove($end);',
        stop => 'Mojo::IOLoop->stop;',
    },
    'IO::Async' => {
        module => 'IO::Async::Loop',
        begin  => 'use IO::Async::Loop; my $loop = IO::Async::Loop->new;',
        run    => 'my $end = $loop->watch_time(after => $DEADLINE, code => sub { $loop->stop }); $loop->run;'
            . '$loop->unwatch_time($end);',
        stop => '$loop->stop;',
    },
);

# A copy that the test may change. Without a module of its own a loop is called as its module is.
sub event_loops {
    return map { ($_ => {%{$LOOP{$_}}}) } keys %LOOP;
}

1;
