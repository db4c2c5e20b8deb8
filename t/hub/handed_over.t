# Streams of this process that are handed over to the hub process: what was buffered, what is pushed later, their ends;
# and the exceptions of such a hub.

use lib 't/lib';
use Testing         qw(named_hubs);
use Testing::Errors qw(error_of);
use EventSource::XS;
use EventSource::Hub;
use POSIX               ();
use Testing::Process    qw(suspend);
use Testing::Fork       qw(in_child);
use Testing::Subscriber qw(blocks);

my $folder  = new_folder;
my %PROCESS = (name => 'test', socket => "$folder/hub.sock", idle_exit => 1);

my $hub = EventSource::Hub->new(%PROCESS);

# How many sockets this process holds.
sub sockets {
    return scalar grep { (readlink($_) // '') =~ /\Asocket:/ } glob "/proc/$$/fd/*";
}

sub data_of {
    return map { $_->{data} // () } blocks($_[0]->text);
}

for my $is_chunked (0, 1) {
    subtest 'buffered, pushed and published events arrive in order, chunked: ' . $is_chunked => sub {
        my ($stream, $client) =
            Testing::StreamPair->open(line_end => 'lf', is_chunked => $is_chunked, max_buffered => 64 << 20);
        my $conn  = Plack::App::EventSource::Connection->new(stream => $stream);
        my $large = 'x' x 50_000;
        $conn->push("before-$_ $large") for 1 .. 100;    # more than the kernel takes
        ok $hub->subscribe($conn, 'news'), 'it is subscribed';
        $conn->push("after-$_") for 1 .. 100;
        $hub->publish(news => 'end');
        ok $client->read_until(qr/^data: end\n/m), 'the event of the hub arrives' or return;
        is_deeply [map { s/ .*//r } grep { /^before/ } data_of($client)], [map { "before-$_" } 1 .. 100],
            'what was buffered arrives';
        ok $client->read_until(qr/^data: after-100\n/m), 'what was pushed arrives';
        is_deeply [grep { /^after/ } data_of($client)], [map { "after-$_" } 1 .. 100], 'in order';
        my $reason;
        $conn->on_close(sub { $reason = $_[1] });
        $conn->close;
        ok $client->read_all,                                                         'the response ends';
        ok $client->complete,                                                         'as a whole';
        ok wait_until($DEADLINE, sub { EventSource::XS->dispatch; defined $reason }), 'on_close is called';
        is $reason, 'application', 'with the reason';
    };
}

subtest 'a slow client is seen here' => sub {
    my $subscriber = Testing::Subscriber->open($hub, 'news');
    my $conn       = $subscriber->{conn};
    my $reason;
    $conn->on_close(sub { $reason = $_[1] });
    my ($pushed, $is_open) = (0, 1);
    while ($is_open && $pushed < 10_000) {
        $is_open = $conn->push('x' x 10_000);
        $pushed++;
    }
    ok !$is_open, 'a push to a full buffer fails';
    cmp_ok $pushed, '>', 100, 'after the buffer is full';
    ok wait_until($DEADLINE, sub { EventSource::XS->dispatch; defined $reason }), 'the stream ends';
    is $reason, 'slow', 'with the reason';
};

subtest 'the state of a stream' => sub {
    my $here = Testing::Subscriber->open($hub, 'news', {stream => {max_buffered => 64 << 20}});
    my $conn = $here->{conn};
    ok $conn->is_open && $conn->is_native,                  'it is open and native';
    ok wait_until($DEADLINE, sub { $conn->buffered == 0 }), 'nothing is buffered after the position';
    my $bytes = 0;
    while ($bytes < 16 << 20) {
        $conn->push('x' x 100_000);
        $bytes += 100_000;
    }
    cmp_ok $conn->buffered, '>', 1 << 20, 'what its client does not read is buffered';
    ok $hub->publish(news => 'last'),                       'an event is published';
    ok $here->client->read_until(qr/^data: last\n/m),       'the client reads everything';
    ok wait_until($DEADLINE, sub { $conn->buffered == 0 }), 'then nothing is buffered';
    is scalar(grep { length == 100_000 } data_of($here->client)), $bytes / 100_000, 'and nothing is missing';
    my @reasons;
    $conn->on_close(sub { push @reasons, $_[1] });
    $here->client->leave;
    ok wait_until($DEADLINE, sub { EventSource::XS->dispatch; @reasons }), 'on_close is called when the client leaves';
    is_deeply \@reasons, ['client'], 'once, with the reason';
    ok !$conn->is_open && !$conn->push('x'), 'it takes nothing more';
    $conn->on_close(sub { push @reasons, "later $_[1]" });
    EventSource::XS->dispatch;
    is_deeply \@reasons, ['client', 'later client'], 'a callback that is set afterwards is called, too';
};

# On Feersum and Twiggy a handler may run before its stream has got its socket.
sub without_socket {
    my %setting = (
        keepalive    => 0,
        timeout      => 60,
        linger       => 2,
        max_buffered => 1_000_000,
        on_full      => 'disconnect',
        line_end     => 'lf'
    );
    my ($number, $client) = Testing::StreamPair->connect;
    my $head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
    POSIX::write($number, $head, length $head);
    my $class       = 'EventSource::XS::Stream::Native';
    my $interpreter = $class->interpreter;
    my ($stream)    = $class->_open(-1, '', $$interpreter, $class->shared_settings(\%setting), '', 1, 0);
    return ($stream, Plack::App::EventSource::Connection->new(stream => $stream), $number, $client);
}

subtest 'a stream that gets its socket later' => sub {
    my ($stream, $conn, $number, $client) = without_socket();
    $conn->push('before');
    ok $hub->subscribe($conn, 'news'), 'it is subscribed';
    $conn->push('after');
    $hub->publish(news => 'early');
    ok $stream->_attach($number), 'it gets its socket';
    $hub->publish(news => 'late');
    ok $client->read_until(qr/^data: late\n/m), 'events of the hub arrive';
    is_deeply [grep { /early|late/ } data_of($client)],   [qw(early late)],   'those from before the socket, too';
    is_deeply [grep { /before|after/ } data_of($client)], [qw(before after)], 'and what was pushed';
    $conn->close;
    ok $client->read_all, 'it can be closed';
};

subtest 'a process that answers late refuses a stream that waits for it' => sub {
    my $late = EventSource::Hub->new(%PROCESS, name => 'late', socket => "$folder/late.sock", max_topics => 3);
    my ($here, $pid) = (Testing::Subscriber->open($late, 'a', 'b'), $late->stats->{process}{pid});
    my ($reason, @warnings);
    $here->conn->on_close(sub { $reason = $_[1] });
    suspend($pid);
    ok $late->subscribe($here->conn, 'c', 'd'), 'two more topics than the three are accepted';
    kill CONT => $pid;
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    ok wait_until($DEADLINE, sub { EventSource::XS->dispatch; defined $reason }), 'the stream ends when it answers';
    is $reason,          'error', 'with the reason';
    is scalar @warnings, 1,       'a warning says it';
    like $warnings[0], qr/\AEventSource::Hub: 1 .* subscriptions .* are lost: .* 3 channels/, 'and why';
};

subtest 'a stream without its socket is refused at once' => sub {
    my $small = EventSource::Hub->new(%PROCESS, name => 'small', socket => "$folder/small.sock", max_topics => 3);
    my ($stream, $conn, $number, $client);

    # A process that begins, or does not answer in 50 ms, refuses it later.
    my $is_refused = sub {
        ($stream, $conn, $number, $client) = without_socket();
        $small->subscribe($conn, 'a', 'b') or die 'two topics are not accepted';
        return error_of(sub { $small->subscribe($conn, 'c', 'd') }) eq 'invalid channels';
    };
    ok wait_until($DEADLINE, $is_refused), 'two topics are accepted, and two more are not';
    my $reason;
    $conn->on_close(sub { $reason = $_[1] });
    ok $stream->_attach($number), 'it gets its socket';
    $small->publish(b => 'x');
    ok $client->read_until(qr/^data: x\n/m), 'it stays subscribed';
    $client->leave;
    ok wait_until($DEADLINE, sub { EventSource::XS->dispatch; defined $reason }), 'it ends with its client';
};

subtest 'a stream that ends before its socket comes' => sub {
    my ($stream, $conn, $number, $client) = without_socket();
    ok $hub->subscribe($conn, 'news'), 'it is subscribed';
    $conn->push('last words');
    $conn->close;
    ok $stream->_attach($number), 'it gets its socket';
    ok $client->read_all,         'the response ends';
    is_deeply [grep { /words/ } data_of($client)], ['last words'], 'after what was pushed';
};

subtest 'exceptions' => sub {
    my $other = EventSource::Hub->new(per_process => 1);
    my $here  = Testing::Subscriber->open($hub, 'news');
    is error_of(sub { $other->subscribe($here->{conn}, 'news') }), 'state', 'a stream has one hub';
    my ($named, $differs) = map { EventSource::Hub->new(%PROCESS, gap_event => $_) } qw(gap hole);
    like $named->publish(news => 'x'), qr/-/, 'settings may be named as they are';
    is error_of(sub { $differs->publish(news => 'x') }), 'refused gap_event', 'and are not changed then';
    my $alone =
        EventSource::Hub->new(name => 'alone', socket => "$folder/alone.sock", autostart => 0, publish_timeout => 0.1);
    is error_of(sub { $alone->publish(news => 'x') }), 'unavailable', 'there is no process, and none is started';
    is error_of(sub { $hub->publish(news => {id => "a\nb", data => 1}) }), 'invalid id', 'a field is wrong';
    is error_of(sub { $hub->publish(news => {id => $hub->epoch . '-1', data => 1}) }), 'invalid id',
        "an id is like the hub's own";
    is error_of(sub { $hub->publish(news => 'x' x (17 << 20)) }), 'invalid data', 'an event is too long';
    like $hub->publish(news => 'x'), qr/-/, 'the hub serves on';
    $here->client->leave;
};

subtest 'a forked child has a connection of its own' => sub {
    my $here   = Testing::Subscriber->open($hub, 'news');
    my $before = sockets();
    my $ended  = in_child sub {
        my $at_first = sockets();
        $hub->publish(news => 'of the child');
        $here->{conn}->push('never');
        return $at_first >= $before ? 'not closed' : sockets() > $before ? 'too many' : 'right';
    };
    is $ended->(), 'right',
        'it closes its copies of the parent\'s connections at once, and makes one at its first call';
    $hub->publish(news => 'of the parent');
    ok $here->client->read_until(qr/^data: of the parent\n/m), 'the stream continues';
    is_deeply [grep { /of the|never/ } data_of($here->client)], ['of the child', 'of the parent'],
        'with the events of both';
    $here->client->leave;
};

# How many sockets a forked child holds.
sub sockets_of_child { return in_child(\&sockets)->() }

subtest 'a forked child keeps no connection of a hub whose object is gone' => sub {
    my $before = sockets_of_child();
    my %other  = (%PROCESS, socket => "$folder/other.sock");
    my $here   = Testing::Subscriber->open(EventSource::Hub->new(%other), 'news');
    ok $here->client->read_until(qr/^id: /m), 'its stream continues';

    # The end of another connection is not a reason to forget this one.
    EventSource::Hub->new(%other, socket => "$folder/third.sock")->stats;
    is sockets_of_child(), $before + 1, 'the child has the socket of the client, and no other one more';
    $here->client->leave;
};

subtest 'a stream outlives the object of its hub' => sub {
    my $second = EventSource::Hub->new(%PROCESS);
    my $here   = Testing::Subscriber->open($second, 'news');
    undef $second;
    $hub->publish(news => 'afterwards');
    ok $here->client->read_until(qr/^data: afterwards\n/m), 'it receives events';
    ok $here->{conn}->push('pushed'),                       'a push is accepted';
    ok $here->client->read_until(qr/^data: pushed\n/m),     'and arrives';
    $here->{conn}->close;
    ok $here->client->read_all, 'it can be closed';
};

is(EventSource::XS->stats->{buffered}, 0, 'nothing is counted as buffered here');

done_testing;
