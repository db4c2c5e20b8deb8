# A system call that fails leads to a fallback, a refusal, or a stream that ends with a reason, and the next request is
# served. Calls of real servers are made to fail: those of the reactor's thread, and those that take over a stream.

use lib 't/lib';
use Testing;
use Testing::Client;
use Testing::Developer qw(needs);
use Testing::FailingCalls;
use Testing::NumberedEvents qw(numbers);
use Testing::SlowReader;
use Testing::StreamServer qw(on_each_server path);

needs(Testing::FailingCalls->missing);

# Returns the numbers of the events that a client has received since the last call. Dies if an event is incomplete.
sub received {
    my $client  = shift;
    my @numbers = numbers($client->text);
    $client->{body} = '';
    return \@numbers;
}

# One stream is pushed to while calls of the reactor fail, another only afterwards. `does` is what meets the fault.
my $SENDS   = 'sendto,sendmsg';
my $WAITS   = 'epoll_wait,epoll_pwait,?epoll_pwait2';
my $push    = sub { $_[0]->push(name => 'hit', count => 3) };
my $talk    = sub { $_[1]->say('junk'); $push->(@_) };
my @GOES_ON = (
    ['no buffer for what is sent'       => $push, $SENDS,     'ENOBUFS', '1..3'],
    ['no memory for what is sent'       => $push, $SENDS,     'ENOMEM',  '1..3'],
    ['no room for what is sent'         => $push, $SENDS,     'EAGAIN',  '1..3'],
    ['a signal while something is sent' => $push, $SENDS,     'EINTR',   '1..5'],
    ['a signal while something is read' => $talk, 'recvfrom', 'EINTR',   '1..5'],
    ['no memory for what is read'       => $talk, 'recvfrom', 'ENOMEM',  '1..5'],
    ['nothing to be read, after all'    => $talk, 'recvfrom', 'EAGAIN',  '1'],
    ['a signal while it waits'          => $push, $WAITS,     'EINTR',   '1..5'],
);
my @ENDS = (
    ['the connection is broken'     => $push, $SENDS,     'EPIPE',      '1',  'client'],
    ['the connection is reset'      => $push, $SENDS,     'ECONNRESET', '1',  'client'],
    ['the connection has timed out' => $push, $SENDS,     'ETIMEDOUT',  '1',  'timeout'],
    ['the descriptor is none'       => $push, $SENDS,     'EBADF',      '1',  'error'],
    ['there is no memory for long'  => $push, $SENDS,     'ENOBUFS',    '1+', 'timeout'],
    ['the reset is read'            => $talk, 'recvfrom', 'ECONNRESET', '1',  'client'],
    ['the timeout is read'          => $talk, 'recvfrom', 'ETIMEDOUT',  '1',  'timeout'],
);

sub with_fault {
    my ($server, $does, $calls, $error, $when, $check) = @_;
    my $hit    = $server->stream(name => 'hit', timeout => 0.7);
    my $beside = $server->stream(name => 'beside');
    my $fault  = Testing::FailingCalls->begin($server->reactor, $calls, "error=$error:when=$when");
    $does->($server, $hit);
    $check->($hit, $fault);
    my ($times) = $when =~ /([0-9]+)\z/;
    ok wait_until(sub { $fault->count >= ($times || 1) }), 'the system call has failed';
    $fault->end;
    is $server->push(name => 'beside', count => 2), 2, 'a push to the neighbour is accepted';
    ok $beside->read_until(qr/^id: 2\r\n.*\r\n\r\n/m), 'the neighbour receives the last event';
    is_deeply received($beside), [1, 2], 'the neighbour receives each event once';
    $_->leave for $hit, $beside;
    $server->rests_ok;
    return $server->serves_ok;
}

on_each_server [qw(Starman Feersum)] => sub {
    my $server = shift;
    for (@GOES_ON) {
        my ($what, @fault) = @$_;
        my $goes_on = sub {
            my $client = shift;
            ok $client->read_until(qr/^id: 3\r\n.*\r\n\r\n/m), 'the client receives the last event';
            is_deeply received($client), [1 .. 3], 'the client receives each event once';
            is $server->ended('hit'), undef, 'the stream stays open';
        };
        subtest "the stream stays open after: $what" => sub { with_fault($server, @fault, $goes_on) };
    }
    for (@ENDS) {
        my ($what, @fault) = @$_;
        my $why  = pop @fault;
        my $ends = sub {
            my $client = shift;
            $server->ended_ok('hit', $why);
            is_deeply received($client), [], 'the client receives no event';
        };
        subtest "the stream ends after: $what" => sub { with_fault($server, @fault, $ends) };
    }
};

# A reactor that cannot wait ends, and the next stream starts a new one.
sub replaces_reactor {
    my ($server, $round) = @_;
    my @client = map { $server->stream(name => "$round-$_") } 1 .. 3;
    my $dead   = $server->reactor;
    my $before = $server->stats;
    my $fault  = Testing::FailingCalls->begin($dead, $WAITS, 'error=EBADF:when=1');
    $server->push(name => "$round-1");    # or it may sleep on
    $server->ended_ok("$round-$_", 'error') for 1 .. 3;
    is $fault->end,                                                     1, 'the system call has failed';
    is scalar(grep { $_->read_all } @client),                           3, 'the responses of the dead reactor end';
    is scalar(grep { join(',', @{received($_)}) =~ /\A1?\z/ } @client), 3, 'the clients receive whole events only';
    my $next = $server->stream(name => "$round-next");
    isnt $server->reactor, $dead, 'the next stream starts a new reactor';
    $next->leave;

    if ($server->{name} =~ /Twiggy|Feersum/) {
        $server->journal_ok("$round-next", qr/^ended: client$/m, 'on_close runs for a stream of the new reactor');
    }
    $server->ended_ok("$round-next", 'client');
    my $stats = $server->stats;
    is $stats->{opened},        $before->{opened} + 1,        'opened counts the streams of both reactors';
    is $stats->{closed}{error}, $before->{closed}{error} + 3, 'closed counts the streams of both reactors';
    is_deeply [@$stats{qw(native buffered)}], [0, 0], 'no stream is left and no byte is buffered'
        or diag explain $stats;
    return $server->serves_ok;
}

on_each_server sub {
    my $server = shift;
    for my $round ('a reactor', 'the next one') {
        subtest "$round that fails is replaced" => sub { replaces_reactor($server, $round =~ s/ .*//r) };
    }
};

# epoll, which watches many sockets, refuses one more.
sub epoll_add_fails {
    my ($server, $error) = @_;
    my $beside = $server->stream(name => 'beside');
    my $errors = $server->stats->{closed}{error};
    my $fault  = Testing::FailingCalls->begin($server->reactor, 'epoll_ctl', "error=$error:when=1");
    my $client = Testing::Client->get($server->port, path('/held', name => 'late', retry => 5_000));
    ok $client->read_all && $client->complete, 'the refused response is complete';
    like $client->text,
        qr/\Aretry: [0-9]+\r\n(?:event: held\r\n\r\n)?retry: [0-9]+\r\n(?:event: held\r\n\r\n)?\z/,
        'the refused response has a retry';
    is $fault->end, 1, 'the system call has failed';
    ok wait_until(sub { $server->stats->{closed}{error} == $errors + 1 }), 'stats counts an end by error';
    is $server->push(name => 'beside', count => 2), 2, 'a push to the neighbour is accepted';
    ok $beside->read_until(qr/^id: 2\r\n.*\r\n\r\n/m), 'the neighbour receives the last event';
    $beside->leave;
    return $server->rests_ok;
}

sub epoll_modify_fails {
    my ($server) = @_;
    my $client   = $server->stream(name => 'slow', class => 'Testing::SlowReader');
    my $fault    = Testing::FailingCalls->begin($server->reactor, 'epoll_ctl', 'error=ENOMEM:when=1');
    $server->push(name => 'slow', bytes => 900_000);
    $server->ended_ok('slow', 'error');
    is $fault->end, 1, 'the system call has failed';
    $client->leave;
    return $server->rests_ok;
}

on_each_server [qw(Starman Feersum)] => sub {
    my $server = shift;
    $server->serves_ok;
    for my $error (qw(ENOMEM ENOSPC)) {
        subtest "epoll cannot watch a socket: $error" => sub { epoll_add_fails($server, $error) };
    }
    subtest 'epoll cannot be asked whether the socket is writable' => sub { epoll_modify_fails($server) };
    $server->serves_ok;
};

# The first stream of a process: what is refused to the thread that takes it over, where, and how it may fare then. With
# Feersum it is too late for the writer once its head is out.
my $WRITER  = qr/\Awriter\z/;
my $REFUSED = qr/\Arefused\z/;
my $SOUND   = qr/\A(?:native|writer|refused)\z/;
my @FIRST   = (
    ['HTTP::Server::PSGI', 'pipe2',         'ENFILE', '1',  $WRITER],
    ['HTTP::Server::PSGI', 'dup3',          'EBADF',  '1',  $WRITER],
    ['HTTP::Server::PSGI', 'dup3',          'EBADF',  '2',  $WRITER],
    ['HTTP::Server::PSGI', 'eventfd2',      'EMFILE', '1',  $WRITER],
    ['HTTP::Server::PSGI', 'epoll_create1', 'EMFILE', '1',  $WRITER],
    ['HTTP::Server::PSGI', 'epoll_ctl',     'ENOMEM', '1',  $WRITER],
    ['HTTP::Server::PSGI', 'clone,clone3',  'EAGAIN', '1+', $WRITER],
    ['HTTP::Server::PSGI', 'openat',        'ENFILE', '1+', $WRITER],
    ['HTTP::Server::PSGI', 'read',          'ENOMEM', '2',  $WRITER],
    (map { ['HTTP::Server::PSGI', 'fcntl', 'EMFILE', $_, $SOUND] } 1 .. 5),
    ['Twiggy',  'dup3',          'EBADF',  '1',  $WRITER],
    ['Twiggy',  'dup3',          'EBADF',  '2',  $WRITER],
    ['Twiggy',  'eventfd2',      'EMFILE', '1',  $WRITER],
    ['Twiggy',  'eventfd2',      'EMFILE', '2',  qr/\Anative\z/],    # on_close cannot be watched yet
    ['Twiggy',  'clone,clone3',  'EAGAIN', '1+', $WRITER],
    ['Feersum', 'eventfd2',      'EMFILE', '1',  $WRITER],
    ['Feersum', 'eventfd2',      'EMFILE', '2',  qr/\Anative\z/],
    ['Feersum', 'epoll_create1', 'EMFILE', '1',  $WRITER],
    ['Feersum', 'clone,clone3',  'EAGAIN', '1+', $WRITER],
    ['Feersum', 'dup3',          'EBADF',  '1',  $REFUSED],
    ['Feersum', 'openat',        'ENFILE', '1+', $REFUSED],
    (map { ['Feersum', 'fcntl', 'EMFILE', $_, $REFUSED] } Testing::Server->has_new_feersum ? 1 .. 2 : 2 .. 3)
    ,                                                                # the first is its own
);

sub first_client {
    my ($server, $calls, $error, $when, $expected) = @_;
    my ($fault, $hits);
    my $fares =
        $server->fares(
        sub { $fault = Testing::FailingCalls->begin($server->stats->{pid}, $calls, "error=$error:when=$when") },
        sub { $hits  = $fault->end });
    cmp_ok $hits, '>', 0, "$calls, $error, $when: the fault was there";
    return like $fares, $expected, 'the first client is served as expected';
}

for (@FIRST) {
    my ($name, @fault) = @$_;
    on_each_server([$name] => sub { first_client($_[0], @fault) });
}

done_testing;
