# What a supply may be, when it begins, and how it ends, seen by taps in a process without an event loop.

use strict;
use warnings;
use utf8;

use EventSource::Server;
use POSIX ();
use Test::More;

# A server and what a tap of it is told.
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

# Iterators, each with its method for the next value.
for my $method (qw(next getline get)) {
    no strict 'refs';    ## no critic (ProhibitNoStrict)
    *{"Iterator::By::${method}::$method"} = sub {
        my $values = shift;
        die "no more\n" if @$values && ($values->[0] // '') eq 'die';
        return shift @$values;
    };
}

# What calls back those who have tapped it, as Raku's supplies do.
{

    package Source;
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

subtest 'code' => sub {
    my $runs = 0;
    my $emitter;
    my ($es, $told) = tapped(supply => sub { $runs++; $emitter = shift; $emitter->emit('one'); 'what it returns' });
    is_deeply $told, ['data: one'], 'may emit at once';
    is $runs, 1, 'it has run';
    $es->out_supply->tap(sub { });
    is $runs, 1, 'and is not run again for another tap';
    ok defined $emitter->emit(tick => 'two'), 'it may emit later';
    is $told->[-1], 'event: tick data: two', 'in every form';
    my $line = __LINE__ + 1;
    ok !eval { $emitter->emit({id => "a\nb", data => ''}); 1 }, 'what is no event';
    like $@, qr/id must not contain a line break at \Q${\__FILE__}\E line $line\b/, 'croaks at the line that emits it';
    ok $emitter->is_open, 'which ends nothing';
    $emitter->done;
    ok !$emitter->is_open, 'it is done';
    is $emitter->emit('late'), undef, 'and nothing more is taken from it';
    ok defined $es->emit('own'), 'though from the server itself';
    is_deeply $told, ['data: one', 'event: tick data: two', 'data: own'], 'as its taps see';
    $es->out_supply->tap(sub { });
    is $runs, 1, 'what is done does not begin again';
    $es->stop;
    is $told->[-1], 'done', 'taps are done when the server is stopped';
};

subtest 'no supply begins before anybody wants it' => sub {
    my $runs = 0;
    my $es   = EventSource::Server->new(supply => sub { $runs++ });
    $es->emit('nobody hears');
    is $runs, 0, 'nor by what is emitted';
    $es->stop;
    $es->out_supply->tap(sub { });
    is $runs, 0, 'nor after it is stopped';
};

subtest 'what code returns is held until the server is stopped' => sub {
    my $freed = 0;
    {

        package Guard;
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
        ['letting go' => sub { undef $_[0] }],
    ) {
        my ($name, $act) = @$end;
        $freed = 0;
        my $emitter;
        my ($es) = tapped(supply => sub { $emitter = shift; return bless [\$freed], 'Guard' });
        is $freed, 0, 'held';
        $act->($es, $emitter);
        is $freed, 1, "$name lets go of it";
        ok !$emitter->is_open, 'and ends the run';
        is $emitter->emit('late'), undef, 'which takes nothing more';
    }
    my ($es) = tapped(supply => sub { $_[0]->done; return bless [\$freed], 'Guard' });
    is $freed, 2, 'and if it is done already it is not held at all';
};

subtest "iterator by $_" => sub {
    my $iterator = bless ['one', ['tick', 'two'], {data => 'three'}, undef, 'four'], "Iterator::By::$_";
    my ($es, $told) = tapped(supply => $iterator);
    is_deeply $told,        ['data: one', 'event: tick data: two', 'data: three'], 'is read up to undef';
    is_deeply [@$iterator], ['four'],                                              'and not further';
    }
    for qw(next get);

subtest 'an iterator of lines' => sub {
    my ($es, $told) = tapped(supply => bless ["one\n", "two\r\n", 'three'], 'Iterator::By::getline');
    is_deeply $told, ['data: one', 'data: two', 'data: three'], 'loses what ends the lines';
};

subtest 'filehandles' => sub {
    open my $memory, '<', \"one\ntwo\r\n\nlast" or die $!;
    my ($es, $told) = tapped(supply => $memory);
    is_deeply $told, ['data: one', 'data: two', 'data:', 'data: last'], 'in memory';

    open my $file, '<', __FILE__ or die $!;
    ($es, $told) = tapped(supply => $file);
    is $told->[0],
        "data: # What a supply may be, when it begins, and how it ends, seen by taps in a process without an event loop.",
        'of a file';
    is $told->[-1], 'data: done_testing;', 'to its end';
    ok defined fileno $file, 'which is not closed';

    pipe my $from, my $to or die $!;
    binmode $from, ':encoding(UTF-8)';
    syswrite $to, "caf\xC3\xA9\n\xFF\n" . 'x' x 200_000 . "\ncut" if !(my $pid = fork // die $!);
    POSIX::_exit(0) if !$pid;
    close $to;
    ($es, $told) = tapped(supply => $from);
    waitpid $pid, 0;
    is $told->[0], "data: caf\xC3\xA9",      'of a pipe: lines are UTF-8';
    is $told->[1], "data: \xEF\xBF\xBD",     'what is not is replaced';
    is $told->[2], 'data: ' . 'x' x 200_000, 'a line may come in pieces';
    is $told->[3], 'data: cut',              'and be the last without an end';

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
    is_deeply $told, ['quit: a line is longer than 1048576 bytes'], 'a line without end is a failure';
    is @warnings, 1, 'of which a warning tells';
    opendir my $folder, '.' or die $!;
    open my $unreadable, '<', '.' or die $!;
    ($es, $told) = tapped(supply => $unreadable);
    like $told->[0], qr/\Aquit: the filehandle cannot be read: /, 'so is one that cannot be read';
};

subtest 'an object with tap' => sub {
    my $source = Source->new;
    my ($es, $told) = tapped(supply => $source);
    is @{$source->{taps}}, 1, 'is tapped';
    $es->out_supply->tap(sub { });
    is @{$source->{taps}}, 1, 'once';
    $source->give('one', ['tick', 'two']);
    is_deeply $told, ['data: one', 'event: tick data: two'], 'and heard';
    $es->stop;
    is @{$source->{taps}}, 0, 'until the server is stopped';

    ($es, $told) = tapped(supply => $source = Source->new);
    $source->say('done');
    is @{$source->{taps}}, 0, 'or it is done itself';
    is_deeply $told, [], 'which is told to nobody';

    my @warnings;
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    ($es, $told) = tapped(supply => $source = Source->new);
    $source->say(quit => 'enough');
    is_deeply $told,      ['quit: enough'],                                   'that it quits is told';
    is_deeply \@warnings, ["EventSource::Server: the supply died: enough\n"], 'and warned of';
    ($es, $told) = tapped(supply => $source = Source->new);
    $source->give(sub { }, 'later');
    is_deeply [map { s/ at .*//sr } @$told],
        [
        "quit: EventSource::Server: an event is a string, a hash, [type => 'data'] or an EventSource::Server::Event, not a reference of the kind CODE"
        ],
        'what is no event is a failure of the supply, not of who made it give that';
};

subtest 'a server on another' => sub {
    my $first = EventSource::Server->new;
    my ($second, $told) = tapped(supply => $first->out_supply);
    $first->emit({type => 'tick', id => 7, data => 'one'});
    $second->emit('own');
    is_deeply $told, ['event: tick id: 7 data: one', 'data: own'], 'has events, not bytes, of it';
    $first->stop;
    $second->emit('after');
    is $told->[-1], 'data: after', 'and goes on without it';
};

for my $case (
    [
        'code that dies' => sub {
            supply => sub { $_[0]->emit('one'); die "oops\n" }
        }
    ],
    ['an iterator that dies' => sub { supply => bless ['one', 'die'], 'Iterator::By::next' }],
    [
        'code that says so' => sub {
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
        is $@, 'as it was', 'nobody dies of it';
        is_deeply $told,      ['data: one', "quit: $why\n"],                    'taps are told';
        is_deeply \@warnings, ["EventSource::Server: the supply died: $why\n"], 'and a warning says it';
        ok defined $es->emit('own'), 'the server goes on';
        is @$told, 2, 'without those that it has told';
        my @again;
        $es->out_supply->tap(sub { push @again, $_[0] }, quit => sub { push @again, 'quit' });
        is_deeply \@again, $name =~ /iterator/ ? [] : ["data: one\n\n", 'quit'], 'what can begins anew for the next';
    };
}

subtest 'a child has a run of its own' => sub {
    my @runs;
    my $es = EventSource::Server->new(supply => sub { push @runs, $$; $_[0]->emit("of $$") });
    $es->out_supply->tap(sub { });
    is_deeply \@runs, [$$], 'the parent';
    pipe my $from, my $to or die $!;
    if (!(my $pid = fork // die $!)) {
        my @told;
        $es->out_supply->tap(sub { push @told, $_[0] });
        syswrite $to, "@told" eq "data: of $$\n\n" && "@runs[1 .. $#runs]" eq $$ ? 'its own' : "@told, runs @runs";
        POSIX::_exit(0);
    }
    close $to;
    is readline $from, 'its own', 'and the child';
    wait;
};

done_testing;
