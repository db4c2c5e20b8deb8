# The kinds of supply, when each starts and how it ends, seen by taps in a process without an event loop.

use lib 't/lib';
use Testing;
use EventSource::Server;
use POSIX ();

# A server and the list of calls that a tap of it receives.
sub tapped {
    my %option = @_;
    my @told;
    my $es = EventSource::Server->new(%option);
    $es->out_supply->tap(
        sub { push @told, $_[0] =~ s/\n/ /gr =~ s/ +\z//r },
        done => sub { push @told, 'done' },
        quit => sub { push @told, "quit: $_[0]" }
    );
    return ($es, \@told);
}

# A class of iterators for each method that returns the next value.
for my $method (qw(next getline get)) {
    no strict 'refs';    ## no critic (ProhibitNoStrict)
    *{"Iterator::By::${method}::$method"} = sub {
        my $values = shift;
        die "no more\n" if @$values && ($values->[0] // '') eq 'die';
        return shift @$values;
    };
}

# A source that calls back its taps, like Raku's supplies.
package Source {
    sub new { return bless {taps => []}, shift }

    sub tap {
        my ($self, $code, %said) = @_;
        push @{$self->{taps}}, {code => $code, %said, of => $self};
        return bless $self->{taps}[-1], 'Source::Tap';
    }

    sub give {
        my ($self, @values) = @_;
        for my $value (@values) { $_->{code}->($value) for @{$self->{taps}} }
        return;
    }
    sub say { my ($self, $what, @why) = @_; $_->{$what}->(@why) for @{$self->{taps}}; return }

    sub Source::Tap::close {
        my $self = shift;
        @{$self->{of}{taps}} = grep { $_ != $self } @{$self->{of}{taps}};
        return;
    }
}

subtest 'a supply of code emits through its emitter' => sub {
    my $runs = 0;
    my $emitter;
    my ($es, $told) = tapped(supply => sub { $runs++; $emitter = shift; $emitter->emit('one'); 'what it returns' });
    is_deeply $told, ['data: one'], 'an event that is emitted at once is received';
    is $runs, 1, 'the code has run once';
    $es->out_supply->tap(sub { });
    is $runs, 1, 'another tap does not run the code again';
    ok defined $emitter->emit(tick => 'two'), 'the emitter returns an id after the code has returned';
    is $told->[-1], 'event: tick data: two', "the tap receives the event's type and data";
    my $line = __LINE__ + 1;
    ok !eval { $emitter->emit({id => "a\nb", data => ''}); 1 }, 'the emitter croaks if its argument is not an event';
    like $@, qr/id must not contain a line break at \Q${\__FILE__}\E line $line\b/,
        'the error names the line that emits';
    ok $emitter->is_open, 'the emitter is open after the error';
    $emitter->done;
    ok !$emitter->is_open, 'the emitter is closed after done';
    is $emitter->emit('late'), undef, 'emit returns undef after done';
    ok defined $es->emit('own'), 'the server itself still emits';
    is_deeply $told, ['data: one', 'event: tick data: two', 'data: own'], 'the tap receives the three events only';
    $es->out_supply->tap(sub { });
    is $runs, 1, 'a supply that is done does not start again for another tap';
    $es->stop;
    is $told->[-1], 'done', 'stop calls done of the tap';
};

subtest 'a supply starts with the first tap only' => sub {
    my $runs = 0;
    my $es   = EventSource::Server->new(supply => sub { $runs++ });
    $es->emit('nobody hears');
    is $runs, 0, 'emit does not start the supply';
    $es->stop;
    $es->out_supply->tap(sub { });
    is $runs, 0, 'a tap after stop does not start the supply';
};

subtest 'the value that code returns is held until the run ends' => sub {
    my $freed = 0;

    package Guard {
        sub DESTROY { ${$_[0][0]}++; return }
    }
    for my $end (
        [stop => sub { $_[0]->stop }],
        [done => sub { $_[1]->done }],
        [
            quit => sub {
                local $SIG{__WARN__} = sub { };
                $_[1]->quit('enough');
            }
        ],
        ['the server is freed' => sub { undef $_[0] }],
    ) {
        my ($name, $act) = @$end;
        $freed = 0;
        my $emitter;
        my ($es) = tapped(supply => sub { $emitter = shift; return bless [\$freed], 'Guard' });
        is $freed, 0, 'the value is held while the supply runs';
        $act->($es, $emitter);
        is $freed, 1, "the value is released: $name";
        ok !$emitter->is_open, "the run has ended: $name";
        is $emitter->emit('late'), undef, 'the emitter ignores later events';
    }
    my ($es) = tapped(supply => sub { $_[0]->done; return bless [\$freed], 'Guard' });
    is $freed, 2, 'the value is not held if the run has ended already';
};

subtest "an iterator with the method $_" => sub {
    my $iterator = bless ['one', ['tick', 'two'], {data => 'three'}, undef, 'four'], "Iterator::By::$_";
    my ($es, $told) = tapped(supply => $iterator);
    is_deeply $told,        ['data: one', 'event: tick data: two', 'data: three'], 'the values up to undef are events';
    is_deeply [@$iterator], ['four'], 'the values after undef are not read';
    }
    for qw(next get);

subtest 'an iterator of lines with the method getline' => sub {
    my ($es, $told) = tapped(supply => bless ["one\n", "two\r\n", 'three'], 'Iterator::By::getline');
    is_deeply $told, ['data: one', 'data: two', 'data: three'], 'the line endings are removed';
};

subtest 'filehandles' => sub {
    open my $memory, '<', \"one\ntwo\r\n\nlast" or die $!;
    my ($es, $told) = tapped(supply => $memory);
    is_deeply $told, ['data: one', 'data: two', 'data:', 'data: last'], 'the lines of an in-memory handle are read';

    open my $file, '<', __FILE__ or die $!;
    ($es, $told) = tapped(supply => $file);
    is $told->[0],
        "data: # The kinds of supply, when each starts and how it ends, seen by taps in a process without an event loop.",
        'the first line of a file is read';
    is $told->[-1], 'data: done_testing;', 'the last line of a file is read';
    ok defined fileno $file, 'the file is not closed';

    pipe my $from, my $to or die $!;
    binmode $from, ':encoding(UTF-8)';
    syswrite $to, "caf\xC3\xA9\n\xFF\n" . 'x' x 200_000 . "\ncut" if !(my $pid = fork // die $!);
    POSIX::_exit(0) if !$pid;
    close $to;
    ($es, $told) = tapped(supply => $from);
    waitpid $pid, 0;
    is $told->[0], "data: caf\xC3\xA9",      'the lines of a pipe are decoded as UTF-8';
    is $told->[1], "data: \xEF\xBF\xBD",     'an invalid byte becomes U+FFFD';
    is $told->[2], 'data: ' . 'x' x 200_000, 'a line that is longer than one read is one event';
    is $told->[3], 'data: cut',              'a last line without a line break is an event';

    my @warnings;
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    pipe $from, $to or die $!;
    if (!($pid = fork // die $!)) {
        local $SIG{PIPE} = 'IGNORE';
        close $from;
        1 while syswrite $to, 'x' x 65_536;
        POSIX::_exit(0);
    }
    close $to;
    ($es, $told) = tapped(supply => $from);
    undef $es;
    close $from;
    waitpid $pid, 0;
    is_deeply $told, ['quit: a line is longer than 1048576 bytes'], 'a line of more than 1 MiB fails the supply';
    is @warnings, 1, 'the failure is a warning';
    opendir my $folder, '.' or die $!;
    open my $unreadable, '<', '.' or die $!;
    ($es, $told) = tapped(supply => $unreadable);
    like $told->[0], qr/\Aquit: the filehandle cannot be read: /, 'a handle that cannot be read fails the supply';
};

subtest 'an object with a method tap' => sub {
    my $source = Source->new;
    my ($es, $told) = tapped(supply => $source);
    is @{$source->{taps}}, 1, 'the object is tapped once';
    $es->out_supply->tap(sub { });
    is @{$source->{taps}}, 1, 'another tap of the server does not tap the object again';
    $source->give('one', ['tick', 'two']);
    is_deeply $told, ['data: one', 'event: tick data: two'], "the tap receives the object's events";
    $es->stop;
    is @{$source->{taps}}, 0, "stop closes the object's tap";

    ($es, $told) = tapped(supply => $source = Source->new);
    $source->say('done');
    is @{$source->{taps}}, 0, "the object's tap is closed when it is done";
    is_deeply $told, [], "the server's tap is not done when the supply is";

    my @warnings;
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    ($es, $told) = tapped(supply => $source = Source->new);
    $source->say(quit => 'enough');
    is_deeply $told,      ['quit: enough'], "the server's tap is called when the object quits";
    is_deeply \@warnings, ["EventSource::Server: the supply died: enough\n"], 'the quit is a warning';
    ($es, $told) = tapped(supply => $source = Source->new);
    $source->give(sub { }, 'later');
    is_deeply [map { s/ at .*//sr } @$told],
        [
        "quit: EventSource::Server: an event is a string, a hash, [type => 'data'] or an EventSource::Server::Event, not a reference of the kind CODE"
        ],
        'a value that is not an event fails the supply and does not die';
};

subtest 'a server whose supply is another server' => sub {
    my $first = EventSource::Server->new;
    my ($second, $told) = tapped(supply => $first->out_supply);
    $first->emit({type => 'tick', id => 7, data => 'one'});
    $second->emit('own');
    is_deeply $told, ['event: tick id: 7 data: one', 'data: own'],
        'the events of the other server and its own are received';
    $first->stop;
    $second->emit('after');
    is $told->[-1], 'data: after', 'the server emits after the other is stopped';
};

for my $case (
    [
        'code that dies' => sub {
            supply => sub { $_[0]->emit('one'); die "oops\n" }
        }
    ],
    ['an iterator that dies' => sub { supply => bless ['one', 'die'], 'Iterator::By::next' }],
    [
        'code that calls quit' => sub {
            supply => sub { $_[0]->emit('one'); $_[0]->quit("oops\n"); $_[0]->emit('two') }
        }
    ],
) {
    my ($name, $options) = @$case;
    subtest $name => sub {
        my @warnings;
        local $SIG{__WARN__} = sub { push @warnings, @_ };
        local $@ = 'as it was';
        my ($es, $told) = tapped($options->());
        my $why = $name =~ /iterator/ ? 'no more' : 'oops';
        is $@, 'as it was', '$@ of the caller is unchanged';
        is_deeply $told,      ['data: one', "quit: $why\n"], 'quit of the tap is called with the reason';
        is_deeply \@warnings, ["EventSource::Server: the supply died: $why\n"], 'a warning names the reason';
        ok defined $es->emit('own'), 'the server still emits';
        is @$told, 2, 'the tap receives nothing after quit';
        my @again;
        $es->out_supply->tap(sub { push @again, $_[0] }, quit => sub { push @again, 'quit' });
        is_deeply \@again, $name =~ /iterator/ ? [] : ["data: one\n\n", 'quit'],
            'code starts again for the next tap, an iterator does not';
    };
}

subtest 'a forked child has a run of its own' => sub {
    my @runs;
    my $es = EventSource::Server->new(supply => sub { push @runs, $$; $_[0]->emit("of $$") });
    $es->out_supply->tap(sub { });
    is_deeply \@runs, [$$], 'the parent runs the supply';
    pipe my $from, my $to or die $!;
    if (!(my $pid = fork // die $!)) {
        my @told;
        $es->out_supply->tap(sub { push @told, $_[0] });
        syswrite $to, "@told" eq "data: of $$\n\n" && "@runs[1 .. $#runs]" eq $$ ? 'its own' : "@told, runs @runs";
        POSIX::_exit(0);
    }
    close $to;
    is readline $from, 'its own', 'the child runs the supply and receives its events';
    wait;
};

done_testing;
