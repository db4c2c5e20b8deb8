# Event loops run on_close of native streams: by themselves, or by a descriptor that the application watches.

use lib 't/lib';
use Testing             qw(native);
use Testing::EventLoops qw(event_loops);
use EventSource::XS;

my $DEADLINE = 10;    # seconds; for what should happen at once

# A module, how it is begun, how it runs until $done, how often it calls a sub, and how it stops.
my %LOOP = (
    event_loops(),
    'POE, which watches notify_fd' => {
        module => 'POE',
        begin  => 'use POE;',
        run    => <<'POE',
            my ($alarm, $handle);
            POE::Session->create(
                inline_states => {
                    _start => sub {
                        open $handle, '<&', EventSource::XS->notify_fd or die $!;
                        $_[KERNEL]->select_read($handle, 'ended');
                        $_[KERNEL]->delay(late => $DEADLINE);
                    },
                    ended => sub { EventSource::XS->dispatch },
                    late  => sub { $_[KERNEL]->stop },
                }
            );
            POE::Kernel->run;
POE
        stop => 'POE::Kernel->stop;',
    },
    'a plain select' => {
        module => 'strict',
        begin  => 'my $stopped;',
        run    => <<'SELECT',
            until ($stopped) {
                my $set = '';
                vec($set, EventSource::XS->notify_fd, 1) = 1;
                select $set, undef, undef, $DEADLINE or last;
                EventSource::XS->dispatch;
            }
SELECT
        stop => '$stopped = 1;',
    },
);

# AnyEvent counts when it has chosen what it runs on.
$LOOP{AnyEvent}{begin} .= ' AnyEvent::detect();';

# Returns what a program that consists of these pieces prints.
sub printed {
    my $program = "use strict; use warnings; my \$DEADLINE = $DEADLINE; \$| = 1; " . join ' ', @_;
    open my $out, '-|', $^X, qw(-Mblib -It/lib), '-e', $program or die "$^X: $!";
    local $/;
    return scalar(readline $out) // '';
}

my $THREE = <<'THREE';
    my @pairs = map { [Testing::StreamPair->open] } 1 .. 3;
    my $told  = 0;
    for my $pair (@pairs) {
        $pair->[0]->on_close(sub { print "$_[1] "; $told++; if ($told == 3) { STOP } });
    }
    $pairs[0][1]->leave;
    $pairs[1][0]->close;
    $pairs[2][1]->leave(reset => 1);
THREE

for my $name (sort keys %LOOP) {
    my %loop   = %{$LOOP{$name}};
    my $module = $loop{module} // $name;
SKIP: {
        if (!eval "require $module; 1") {    ## no critic (StringyEval)
            fail "there is no $module" if $ENV{EVENTSOURCE_XS_FULL};
            skip "there is no $module here", 1;
        }
        my $three = $THREE =~ s/STOP/$loop{stop}/r;
        is join(' ', sort split ' ', printed($loop{begin}, 'use Testing::StreamPair;', $three, $loop{run})),
            'application client client', "$name runs on_close of three streams";

        # A stream that is older than the loop.
        my $early =
            'use Testing::StreamPair; my ($early, $client) = Testing::StreamPair->open; $early->on_close(sub { print "early " }); $early->close;';
        like printed($early, $loop{begin}, $three, $loop{run}), qr/early/,
            "$name runs on_close of a stream that is older than the loop";

        # on_close is set after the stream has ended.
        my $late = <<"LATE";
            use Testing::StreamPair; my (\$late, \$client) = Testing::StreamPair->open; \$late->close; \$client->read_all;
            \$late->_want_end; \$late->_wait_for_end(1_000 * \$DEADLINE);
            my \$next = sub { \$late->on_close(sub { print "late \$_[1]"; $loop{stop} }) };
            my (\$other, \$leaves) = Testing::StreamPair->open; \$other->on_close(\$next); \$leaves->leave;
LATE
        is printed($loop{begin}, $late, $loop{run}), 'late application',
            "$name runs an on_close that is set after the end"
            if $name !~ /POE|select/;

        # By its name, because Mojo::IOLoop may run on EV.
        my $by_name =
            "use EventSource::XS; use EventSource::XS::Loop; my \$by_its_name = EventSource::XS::Loop->named('$name');";
        my $watched = <<'WATCHED';
            my $number = EventSource::XS->notify_fd;
            my $watch  = $by_its_name->readable($number, sub {});
            undef $watch;
            print open(my $copy, '<&', $number) ? 'open' : $!;
WATCHED
        is printed($by_name, $loop{begin}, $watched), 'open',
            "$name leaves the descriptor of another owner open when it watches it no more"
            if $name !~ /POE|select/;

        my $full = <<'FULL';
            my $number = EventSource::XS->notify_fd;
            system('prlimit', "--pid=$$", '--nofile=64:') == 0 or die "prlimit: $?\n";
            my @taken;
            while (open my $handle, '<', '/dev/null') { push @taken, $handle }
            my $watch = eval { $by_its_name->readable($number, sub {}) };
            @taken = ();
            print $@ || ($watch ? 'a watch' : 'no watch');
FULL
        is printed($by_name, $loop{begin}, $full), 'no watch', "$name says that there is no descriptor for a copy"
            if $name =~ /Mojo|Async/;

        # Callbacks that are queued while there is no loop must not keep later ones from starting one.
        my $first  = q(EventSource::XS->later(sub { print 'first ' }););
        my $second = "EventSource::XS->later(sub { print 'second'; $loop{stop} });";
        is printed('use EventSource::XS;', $first, $loop{begin}, $second, $loop{run}), 'first second',
            "$name runs callbacks that were queued before the loop"
            if $name =~ /AnyEvent|EV|Async/;
    }
}

done_testing;
