# on_close: it runs once, with the reason, and only when callbacks may run.

use lib 't/lib';
use Testing qw(native);
use EventSource::XS;
use Testing::Fork       qw(in_child);
use Testing::SourceTree qw(slurp);
use Testing::StreamPair;
use Plack::App::EventSource::Connection;
use Scalar::Util qw(refaddr weaken);

# Dispatches until that many callbacks have run in all.
sub dispatched {
    my $count = shift;
    my $ran   = 0;
    return wait_until(sub { ($ran += EventSource::XS->dispatch) >= $count });
}

sub readable {
    my $number = shift;
    my $set    = '';
    vec($set, $number, 1) = 1;
    return scalar select $set, undef, undef, 0;
}

my @ENDS = (
    [application => 'close',                       sub { $_[0]->close }],
    [error       => 'close as for an error',       sub { $_[0]->close('error') }],
    [client      => 'a client that closes',        sub { $_[1]->leave }],
    [client      => 'a client that resets',        sub { $_[1]->leave(reset => 1) }],
    [error       => 'a socket that never arrives', sub { $_[0]->_fail }],
);

for my $end (@ENDS) {
    my ($why, $what, $act) = @$end;
    subtest "$what ends the stream with the reason $why" => sub {
        my ($stream, $client) = Testing::StreamPair->open;
        my @told;
        $stream->on_close(sub { push @told, [@_] });
        ok $stream->is_open, 'the stream is open';
        $act->($stream, $client);
        ok wait_until(sub { !$stream->is_open }), 'the stream is no longer open';
        ok !$stream->write("data: late\n\n"),     'write returns false after the end';
        is_deeply \@told, [], 'on_close does not run before dispatch';
        ok dispatched(1), 'dispatch runs the callbacks';
        is scalar @told, 1,       'on_close has run';
        is $told[0][0],  $stream, 'on_close is given the stream';
        is $told[0][1],  $why,    'on_close is given the reason';
        EventSource::XS->dispatch;
        $stream->on_close(sub { push @told, ['later', $_[1]] });
        is scalar @told, 1, 'on_close runs once, and a late on_close waits for dispatch';
        ok dispatched(1), 'dispatch runs the callbacks';
        is_deeply $told[1], ['later', $why], 'a late on_close is given the same reason';
    };
}

subtest 'a push runs no callback of ended streams' => sub {
    my @pairs = map { [Testing::StreamPair->open] } 1 .. 20;
    my $told  = 0;
    $_->[0]->on_close(sub { $told++ }) for @pairs;
    my $kept = pop @pairs;
    for (@pairs) { $_->[1]->leave }
    my $open = sub {
        scalar grep { $_->[0]->is_open } @pairs;
    };
    ok wait_until(sub { $kept->[0]->write(": on\n\n") && !$open->() }), 'the streams end during writes';
    is $told, 0, 'no callback runs during writes';
    ok dispatched(19), 'dispatch runs the callbacks of all ended streams';
    is $told, 19, 'each callback runs once';
};

subtest 'several callbacks run in order although one dies' => sub {
    my ($stream, $client) = Testing::StreamPair->open;
    my @told;
    $stream->on_close(sub { push @told, 'first' });
    $stream->on_close(sub { die "on purpose\n" });
    $stream->on_close(sub { push @told, 'third' });
    my @warned;
    local $SIG{__WARN__} = sub { push @warned, @_ };
    local $@ = 'of the caller';
    $stream->close;
    ok dispatched(3), 'dispatch runs the callbacks';
    is_deeply \@told,   ['first', 'third'],                                 'the callbacks run in order';
    is_deeply \@warned, ["EventSource::XS: a callback died: on purpose\n"], 'an exception of a callback is a warning';
    is $@, 'of the caller', '$@ of the caller is unchanged';
};

# An object whose text cannot be made.
package Testing::WithoutText {
    use overload '""' => sub { die "no text\n" }, bool => sub { 1 }, fallback => 0;
}

subtest 'the callbacks of other streams run although a handler of warnings dies, or an exception has no text' => sub {
    my @pairs = map { [Testing::StreamPair->open] } 1 .. 3;
    my @told;
    $pairs[0][0]->on_close(sub { die "on purpose\n" });
    $pairs[1][0]->on_close(sub { die bless {}, 'Testing::WithoutText' });
    $pairs[2][0]->on_close(sub { push @told, 'the last one' });
    $_->[0]->close for @pairs;
    local $SIG{__WARN__} = sub { die "of the handler: $_[0]" };
    open my $saved, '>&', \*STDERR or die $!;
    my $folder = new_folder;
    my $file   = "$folder/errors";
    open STDERR, '>', $file or die $!;
    my $is_alive = eval { dispatched(3); 1 };
    my $error    = $@;
    open STDERR, '>&', $saved or die $!;
    ok $is_alive, 'dispatch throws nothing' or diag $error;
    is_deeply \@told, ['the last one'], 'all callbacks run';
    my $printed = slurp($file);
    like $printed, qr/a callback died: $_/, "standard error has it: $_" for 'on purpose', 'a Testing::WithoutText that';
};

subtest 'a callback may open and end streams' => sub {
    my ($stream, $client) = Testing::StreamPair->open;
    my @told;
    my @more;
    $stream->on_close(
        sub {
            @more = Testing::StreamPair->open;
            $more[0]->on_close(sub { push @told, "second by $_[1]" });
            push @told, "first by $_[1]";
            $more[0]->close;
        }
    );
    $stream->close;
    ok dispatched(2), 'dispatch runs the callbacks';
    is_deeply \@told, ['first by application', 'second by application'], 'both callbacks run';
};

subtest 'notify_fd is readable while callbacks are pending' => sub {
    my $number = EventSource::XS->notify_fd;
    is(EventSource::XS->notify_fd, $number, 'notify_fd is the same at each call');
    my @pairs = map { [Testing::StreamPair->open] } 1 .. 3;
    my $told  = 0;
    $_->[0]->on_close(sub { $told++ }) for @pairs[0, 1];
    ok !readable($number), 'notify_fd is not readable while the streams are open';
    $pairs[2][0]->close;
    ok $pairs[2][1]->read_all, 'a stream without on_close ends';
    ok !readable($number),     'an end without on_close does not make notify_fd readable';
    $pairs[0][1]->leave;
    ok wait_until(sub { readable($number) }), 'an end with on_close makes notify_fd readable';
    ok readable($number),                     'notify_fd stays readable until dispatch';
    is(EventSource::XS->dispatch, 1, 'dispatch runs one callback');
    ok !readable($number), 'notify_fd is not readable after dispatch';
    $pairs[1][0]->close;
    ok wait_until(sub { readable($number) }), 'the next end makes notify_fd readable';
    EventSource::XS->dispatch;
    ok !readable($number), 'notify_fd is not readable after the next dispatch';
    is $told, 2, 'both callbacks have run';
};

subtest 'a callback does not keep its stream alive' => sub {
    my ($stream, $client) = Testing::StreamPair->open(is_loop => 0);
    my $conn = Plack::App::EventSource::Connection->new(stream => $stream);
    my @told;
    $conn->on_close(sub { push @told, "$_[1] " . ($_[0]->is_open ? 'the stream is open' : 'ended') });
    weaken $stream;
    undef $conn;
    ok $client->read_all, 'the stream ends with its connection';
    ok dispatched(1),     'dispatch runs the callbacks';
    is_deeply \@told, ['application ended'], 'on_close runs after the end';
    is $stream, undef, 'the stream is destroyed';
};

package Connection::OfApplication {
    our @ISA = 'Plack::App::EventSource::Connection';
}

# What the application releases, the class of the connection, and its attributes.
my @HOLDERS = (
    ['a connection',                    'Plack::App::EventSource::Connection'],
    ['a connection with an id',         'Plack::App::EventSource::Connection', last_event_id => 7],
    ['a connection of its own class',   'Connection::OfApplication'],
    ['the same with another attribute', 'Connection::OfApplication', user => 'ann', last_event_id => 'x'],
);

for my $number (0 .. 2 * @HOLDERS - 1) {
    my $is_held = $number % 2 == 0;
    my ($what, $class, %attributes) = @{$HOLDERS[$number / 2]};
    my $name = $is_held ? "callbacks are given $what" : "callbacks are given one like $what that was released";
    subtest $name => sub {
        my ($stream, $client) = Testing::StreamPair->open;
        my $conn    = $class->new(stream => $stream);
        my $address = refaddr $conn;
        my @given;
        %$conn = (%$conn, %attributes);
        $conn->on_close(sub { push @given, $_[0] }) for 1 .. 3;
        undef $conn if !$is_held;
        $client->leave;
        ok dispatched(3), 'dispatch runs the callbacks';
        is scalar(grep { $is_held && refaddr $_ != $address } @given), 0, 'a connection that is held is given itself';

        for my $given (@given) {
            my %has = %$given;
            delete $has{is_handle};
            is ref $given, $class, 'the class';
            is_deeply \%has, {%attributes, stream => $stream}, 'the stream and the attributes';
        }
    };
}

# Resident bytes that each call of the code takes.
sub bytes_of_each {
    my ($count, $code) = @_;
    my $resident = sub {
        open my $smaps, '<', '/proc/self/smaps_rollup' or die "smaps_rollup: $!";
        return map { /\ARss:\s+([0-9]+)/ ? $1 * 1_024 : () } readline $smaps;
    };
    my ($before) = $resident->();
    $code->($_) for 0 .. $count - 1;
    my ($after) = $resident->();
    return ($after - $before) / $count;
}

subtest 'on_close takes no more memory than an array of three references' => sub {
    my $count = 4_000;
    my @conns = map {
        Plack::App::EventSource::Connection->new(
            stream        => Testing::StreamPair->stream(-1),
            last_event_id => "id $_",
            characters    => 1
        )
    } 1 .. $count;
    my @list;
    my $callback = sub { };
    my $array    = bytes_of_each($count, sub { push @list, [($callback) x 3] });
    my $on_close = bytes_of_each($count, sub { $conns[$_[0]]->on_close($callback) });
    cmp_ok $on_close, '<=', $array, 'bytes of a stream';
};

subtest "a forked child does not run its parent's pending callbacks" => sub {
    my $ran = 0;
    my ($stream, $client) = Testing::StreamPair->open;
    $stream->close;
    ok $client->read_all,                      "the stream has ended";
    ok wait_until(sub { $stream->_want_end }), 'the reactor has reported the end';
    $stream->on_close(sub { $ran++ });    # pending until dispatch
    is in_child(sub { return (EventSource::XS->dispatch, $ran) })->(), '0 0', 'dispatch in the child runs no callback';
    is(EventSource::XS->dispatch, 1, 'dispatch in the parent runs the callback');
};

done_testing;
