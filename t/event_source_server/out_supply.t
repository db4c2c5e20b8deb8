# The taps of a server: what they are given, in what order, and how they end.

use strict;
use warnings;

use EventSource::Server;
use Test::More;

subtest 'bytes, from the tap on' => sub {
    my $es = EventSource::Server->new;
    $es->emit('before');
    my (@first, @second);
    my $tap = $es->out_supply->tap(sub { push @first, $_[0] });
    $es->emit("\x{263A}");
    $es->out_supply->tap(sub { push @second, $_[0] });
    $es->emit(tick => 2);
    is_deeply \@first, ["data: \xE2\x98\xBA\n\n", "event: tick\ndata: 2\n\n"], 'one';
    ok !(grep { utf8::is_utf8($_) } @first), 'in bytes';
    is_deeply \@second, ["event: tick\ndata: 2\n\n"], 'another';
    $tap->close;
    $es->emit('three');
    is @first,      2,                 'what is closed hears nothing more';
    is $second[-1], "data: three\n\n", 'others do';
    $tap->close;
    is @first, 2, 'and may be closed again';
};

subtest 'closing a supply closes the taps made by it' => sub {
    my $es = EventSource::Server->new;
    my %told;
    my ($one, $two) = ($es->out_supply, $es->out_supply);
    $one->tap(sub { $told{first}++ });
    $one->tap(sub { $told{second}++ }, done => sub { $told{done}++ });
    $two->tap(sub { $told{other}++ });
    $one->close;
    $es->emit('x');
    is_deeply \%told, {other => 1}, 'and no others, and without a word';
};

subtest 'stop' => sub {
    my $es = EventSource::Server->new;
    my @told;
    $es->out_supply->tap(
        sub { push @told, $_[0] },
        done => sub { push @told, 'done' },
        quit => sub { push @told, 'quit' }
    );
    $es->out_supply->tap(sub { });
    $es->emit('last');
    $es->stop;
    is_deeply \@told, ["data: last\n\n", 'done'], 'says that it is done, once';
    is $es->emit('late'), undef, 'what is emitted afterwards has no id';
    $es->stop;
    is @told, 2, 'stopping again changes nothing';
    my $late = 0;
    my $tap  = $es->out_supply->tap(sub { push @told, 'late' }, done => sub { $late++ });
    is $late, 1, 'a tap that comes afterwards is done at once';
    is_deeply $es->({REQUEST_METHOD => 'GET'})->[0], 204, 'and a client told not to come back';
};

subtest 'a tap that dies harms nobody' => sub {
    my @warnings;
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    local $@ = 'as it was';
    my $es = EventSource::Server->new;
    my ($before, $after, $calls) = (0, 0, 0);
    $es->out_supply->tap(sub { $before++ });
    $es->out_supply->tap(sub { $calls++; die "oops\n" }, done => sub { die "not done\n" });
    $es->out_supply->tap(sub { $after++ },               done => sub { $after++ });
    ok defined $es->emit('one'), 'emit returns';
    is "$before $after", '1 1', 'the others have the event';
    $es->emit('two');
    is $calls, 2, 'and it has the next';
    $es->stop;
    is $after, 3, 'the others are done';
    is_deeply \@warnings, [map { "EventSource::Server: a tap died: $_\n" } 'oops', 'oops', 'not done'], 'it is said';
    is $@, 'as it was', 'an exception of the caller stands';
};

subtest 'a tap may emit, tap, close and stop' => sub {
    my $es = EventSource::Server->new;
    my @told;
    my ($tap, $other);
    $tap = $es->out_supply->tap(
        sub {
            push @told, $_[0] =~ s/\n//gr;
            $tap->close;
            $es->emit('nested');
            $other = $es->out_supply->tap(sub { push @told, 'other ' . $_[0] =~ s/\n//gr; $es->stop });
        }
    );
    $es->emit('one');
    is_deeply \@told, ['data: one'], 'only what comes after a tap is for it';
    $es->emit('two');
    is_deeply \@told, ['data: one', 'other data: two'], 'that is';
    is $es->emit('three'), undef, 'and it has stopped';
};

subtest 'a tap may close those after it' => sub {
    for my $case ([event => sub { $_[0]->emit('x') }], [done => sub { $_[0]->stop }]) {
        my ($what, $happens) = @$case;
        my $es = EventSource::Server->new;
        my ($other, @told);
        my $tap = sub {
            my ($name, $code) = @_;
            my $told = sub { push @told, $name; $code->() if $code };
            return $es->out_supply->tap($what eq 'done' ? (sub { }, done => $told) : $told);
        };
        $tap->('first', sub { $other->close; undef $other });
        $other = $tap->('second');
        $tap->('third');
        ok eval { $happens->($es); 1 }, "$what: nobody dies of that" or diag $@;
        is "@told", 'first third', 'and they hear nothing';
    }
};

subtest 'what tap is not to be given croaks at its line' => sub {
    my $supply = EventSource::Server->new->out_supply;
    for my $case (
        [[]                           => 'tap takes code'],
        [['x']                        => 'tap takes code'],
        [[sub { }, done => 1]         => 'tap takes code for done'],
        [[sub { }, gone => sub { }]   => "tap does not know 'gone'"],
        [[sub { }, fields => sub { }] => "tap does not know 'fields'"],
    ) {
        my ($arguments, $why) = @$case;
        my $line = __LINE__ + 1;
        ok !eval { $supply->tap(@$arguments); 1 }, $why;
        is $@, "EventSource::Server: $why at ${\__FILE__} line $line.\n", 'here';
    }
};

subtest 'the interface of the object' => sub {
    my $code = sub { };
    my $es   = EventSource::Server->new({supply => $code, headers => ['X-A' => 'b']});
    can_ok $es, qw(emit headers out_supply stop supply to_app);
    is $es->supply,     $code,  'its supply';
    is ref \&$es,       'CODE', 'it can be called';
    is ref $es->to_app, 'CODE', 'as an application';
    ok $es, 'and is true';
    isnt "$es", '' . EventSource::Server->new, 'as a string it is itself';
    ok $es != EventSource::Server->new && $es == $es, 'and by number';
    is_deeply $es->headers,
        [
        'Cache-Control'     => 'must-revalidate, no-cache',
        'Content-Type'      => 'text/event-stream; charset=utf-8',
        'X-Accel-Buffering' => 'no',
        'X-A'               => 'b'
        ],
        'its headers';
    is_deeply [@{EventSource::Server->new(headers => ['x-accel-buffering' => 'yes'])->headers}[4 .. 5]],
        ['x-accel-buffering' => 'yes'], 'the last of which may be given';
};

done_testing;
