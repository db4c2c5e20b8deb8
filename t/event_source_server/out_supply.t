# The taps of a server: the bytes that they receive, their order, and how they end.

use lib 't/lib';
use Testing;
use EventSource::Server;

subtest 'a tap receives the encoded events that are emitted after it' => sub {
    my $es = EventSource::Server->new;
    $es->emit('before');
    my (@first, @second);
    my $tap = $es->out_supply->tap(sub { push @first, $_[0] });
    $es->emit("\x{263A}");
    $es->out_supply->tap(sub { push @second, $_[0] });
    $es->emit(tick => 2);
    is_deeply \@first, ["data: \xE2\x98\xBA\n\n", "event: tick\ndata: 2\n\n"], 'the first tap receives two events';
    ok !(grep { utf8::is_utf8($_) } @first), 'the tap receives bytes, not characters';
    is_deeply \@second, ["event: tick\ndata: 2\n\n"], 'the second tap receives the event after it';
    $tap->close;
    $es->emit('three');
    is @first,      2,                 'a closed tap receives nothing more';
    is $second[-1], "data: three\n\n", 'another tap receives the event';
    $tap->close;
    is @first, 2, 'closing a tap twice changes nothing';
};

subtest 'closing a supply closes its taps only, without calling done' => sub {
    my $es = EventSource::Server->new;
    my %told;
    my ($one, $two) = ($es->out_supply, $es->out_supply);
    $one->tap(sub { $told{first}++ });
    $one->tap(sub { $told{second}++ }, done => sub { $told{done}++ });
    $two->tap(sub { $told{other}++ });
    $one->close;
    $es->emit('x');
    is_deeply \%told, {other => 1}, 'only the tap of the other supply received the event';
};

subtest 'stop ends taps, and later taps and clients at once' => sub {
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
    is_deeply \@told, ["data: last\n\n", 'done'], 'a tap receives the last event and then done, once';
    is $es->emit('late'), undef, 'emit after stop returns undef';
    $es->stop;
    is @told, 2, 'a second stop calls nothing';
    my $late = 0;
    my $tap  = $es->out_supply->tap(sub { push @told, 'late' }, done => sub { $late++ });
    is $late, 1, 'a tap that is made after stop is done at once';
    is_deeply $es->({REQUEST_METHOD => 'GET'})->[0], 204, 'a client is answered with 204 after stop';
};

subtest 'a tap that dies affects neither emit nor other taps' => sub {
    my @warnings;
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    local $@ = 'as it was';
    my $es = EventSource::Server->new;
    my ($before, $after, $calls) = (0, 0, 0);
    $es->out_supply->tap(sub { $before++ });
    $es->out_supply->tap(sub { $calls++; die "oops\n" }, done => sub { die "not done\n" });
    $es->out_supply->tap(sub { $after++ },               done => sub { $after++ });
    ok defined $es->emit('one'), 'emit returns an id';
    is "$before $after", '1 1', 'the other taps receive the event';
    $es->emit('two');
    is $calls, 2, 'the tap that died receives the next event';
    $es->stop;
    is $after, 3, 'the last tap received two events and done';
    is_deeply \@warnings, [map { "EventSource::Server: a tap died: $_\n" } 'oops', 'oops', 'not done'],
        'each exception is a warning';
    is $@, 'as it was', '$@ of the caller is unchanged';
};

subtest "a tap's callback may emit, tap, close and stop" => sub {
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
    is_deeply \@told, ['data: one'], 'a tap made in a callback does not receive the events emitted before';
    $es->emit('two');
    is_deeply \@told, ['data: one', 'other data: two'], 'a tap made in a callback receives the next event';
    is $es->emit('three'), undef, 'the server is stopped by the callback';
};

subtest 'a callback may close a later tap' => sub {
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
        ok eval { $happens->($es); 1 }, "closing a later tap on $what does not die" or diag $@;
        is "@told", 'first third', 'the closed tap receives nothing, the others do';
    }
};

subtest 'the object is a server and a PSGI application' => sub {
    my $code = sub { };
    my $es   = EventSource::Server->new({supply => $code, headers => ['X-A' => 'b']});
    can_ok $es, qw(emit headers out_supply stop supply to_app);
    is $es->supply,     $code,  'supply returns the supply';
    is ref \&$es,       'CODE', 'the object can be called as code';
    is ref $es->to_app, 'CODE', 'to_app returns code';
    ok $es, 'the object is true';
    isnt "$es", '' . EventSource::Server->new, 'two objects are different as strings';
    ok $es != EventSource::Server->new && $es == $es, 'an object is numerically equal to itself only';
    is_deeply $es->headers,
        [
        'Cache-Control'     => 'must-revalidate, no-cache, no-transform',
        'Content-Type'      => 'text/event-stream; charset=utf-8',
        'X-Accel-Buffering' => 'no',
        'X-A'               => 'b'
        ],
        'headers returns the default headers and those given';
    is_deeply [@{EventSource::Server->new(headers => ['x-accel-buffering' => 'yes'])->headers}[4 .. 5]],
        ['x-accel-buffering' => 'yes'], 'X-Accel-Buffering can be given';
};

done_testing;
