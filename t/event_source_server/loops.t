# Each event loop reads iterators and filehandles, and times the keepalives of taps.

use lib 't/lib';
use Testing             qw(native);
use Testing::EventLoops qw(event_loops);
use EventSource::XS;

my %LOOP = event_loops();

# The output of a program made of these pieces.
sub printed {
    my ($loop, @pieces) = @_;
    my $program = join "\n", 'use strict; use warnings;', $loop->{begin}, <<'TAPPED', @pieces;
        use EventSource::Server;
        $| = 1;
        my $DEADLINE = 10;
        my @told;
        sub tapped {
            my %option = @_;
            my $es = EventSource::Server->new(%option);
            $es->out_supply->tap(sub { push @told, $_[0] =~ s/^data: |\n+\z//gr; look() }, quit => sub { push @told, "quit $_[0]"; look() });
            return $es;
        }
TAPPED
    $program =~ s/RUN/{ $loop->{run} }/g;
    $program =~ s/STOP/$loop->{stop}/g;
    open my $out, '-|', $^X, '-Mblib', '-e', $program or die "$^X: $!";
    local $/;
    return scalar(readline $out) // '';
}

my %PROGRAM = (
    'an iterator is read in turns, between which other callbacks run' =>
        [<<'ITERATOR', '0 then 1000, others ran between'],
        { package Numbers; sub new { bless [1 .. 1000], shift } sub next { shift @{$_[0]} } }
        my $loop_had_a_turn = 0;
        sub look { if ($told[-1] == 100) { EventSource::XS->later(sub { $loop_had_a_turn = @told }) } if (@told == 1000) { STOP } }
        my $es = tapped(supply => Numbers->new);
        print scalar(@told), ' then ';
        RUN
        print scalar(@told), $loop_had_a_turn < 1000 ? ', others ran between' : ', others ran after it';
ITERATOR
    'a pipe is read when it is readable, and not after stop' => [<<'PIPE', 'one two three, later unread'],
        pipe my $from, my $to or die $!;
        sub look { if ($told[-1] eq 'two') { syswrite $to, "three\nno end" } if ($told[-1] eq 'three') { STOP } }
        my $es = tapped(supply => $from);
        syswrite $to, "one\ntwo\n";
        RUN
        print "@told";
        $es->stop;
        syswrite $to, "later\n";
        my $later = '';
        my $source = EventSource::Server->new(supply => sub { });
        EventSource::XS->later(sub { STOP });
        RUN
        sysread $from, $later, 100;
        print $later eq "later\n" && @told == 3 ? ', later unread' : ", read: @told";
PIPE
    'the end of a pipe ends the supply, after a last line without a line break' => [<<'END_OF_PIPE', 'one last'],
        pipe my $from, my $to or die $!;
        sub look { if ($told[-1] eq 'last') { STOP } }
        my $es = tapped(supply => $from);
        syswrite $to, "one\nlast";
        close $to;
        RUN
        print "@told";
END_OF_PIPE
    'a regular file is read to its end' => [<<'FILE', 'whole'],
        open my $file, '<', 'perl/EventSource/Server.pm' or die $!;
        my $last = '=cut';
        sub look { if ($told[-1] eq $last && @told > 500) { STOP } }
        my $es = tapped(supply => $file);
        RUN
        open my $again, '<', 'perl/EventSource/Server.pm' or die $!;
        print join("\n", @told) . "\n" eq join('', <$again>) ? 'whole' : "@told";
FILE
    'an iterator that dies calls quit of the tap' => [<<'DIES', "1 quit oops\n"],
        { package Dies; sub new { bless [1], shift } sub next { shift @{$_[0]} or die "oops\n" } }
        sub look { if ($told[-1] =~ /quit/) { STOP } }
        local $SIG{__WARN__} = sub { };
        my $es = tapped(supply => Dies->new);
        RUN
        print "@told";
DIES
    'a server that is freed stops reading its supply' => [<<'FREED', 'freed'],
        { package Numbers; sub new { bless [1 .. 1000], shift } sub next { shift @{$_[0]} } }
        sub look { }
        my $numbers = Numbers->new;
        my $es = tapped(supply => $numbers);
        undef $es;
        EventSource::XS->later(sub { STOP });
        RUN
        print @$numbers == 1000 && !@told ? 'freed' : 'read on';
FREED
    'taps receive keepalive comments until the last one is closed' => [<<'KEPT', ': : : and no more'],
        my $es;
        sub look { if (@told == 3) { STOP } }
        $es = tapped(keepalive => 1, keepalive_interval => 0.05);
        RUN
        print "@told";
        my $quiet = EventSource::Server->new(keepalive_interval => 0.01);
        my $count = 0;
        $quiet->out_supply->tap(sub { $count++ });
        my $tap = $es->out_supply->tap(sub { STOP });
        RUN
        $tap->close;
        $es->stop;
        print $count || $es->{tap_keepalive} ? ' and more' : ' and no more';
KEPT
);

for my $name (sort keys %LOOP) {
    my $loop   = $LOOP{$name};
    my $module = $loop->{module} // $name;
SKIP: {
        if (!eval "require $module; 1") {    ## no critic (StringyEval)
            fail "$module is not installed" if $ENV{EVENTSOURCE_XS_FULL};
            skip "$module is not installed", 1;
        }
        for my $what (sort keys %PROGRAM) {
            my ($program, $prints) = @{$PROGRAM{$what}};
            is printed($loop, $program), $prints, "$name: $what";
        }
    }
}

done_testing;
