# $conn->wait, and the arguments of $conn->spawn: handles of every kind, wrong arguments, streams that have ended.

use lib 't/lib';
use Testing qw(native);
use EventSource::Hub;
use Plack::App::EventSource::Connection;
use Socket             qw(AF_UNIX PF_UNSPEC SOCK_STREAM);
use POSIX              ();
use Testing::Deadline  qw(wait_until);
use Testing::Developer qw(has_module);
use Testing::StreamPair;
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime);

# The clients stay connected until they leave.
my @clients;

# A connection on a server that blocks, and its client.
sub pair {
    my ($stream, $client) = Testing::StreamPair->open(is_loop => 0, @_);
    push @clients, $client;
    return (Plack::App::EventSource::Connection->new(stream => $stream), $client);
}

sub pipes {
    pipe my $from, my $to or die "pipe: $!";
    return ($from, $to);
}

# A TLS handle that has decrypted more than its reader has read, as IO::Socket::SSL reports it.
sub Decrypted::pending { my $self = shift; return ${*$self}{pending} }

subtest 'what happens first is returned' => sub {
    my ($conn, $client) = pair();
    my ($from, $to)     = pipes();
    is $conn->wait($from, 0),    'timeout', 'nothing has happened';
    is $conn->wait(undef, 0.01), 'timeout', 'without a handle the time is up';
    syswrite $to, 'x';
    is $conn->wait($from, 0), 'readable', 'the handle is readable';
    is $conn->wait($from),    'readable', 'it still is: wait reads nothing';
    sysread $from, my $bytes, 10;
    close $to;
    is $conn->wait($from), 'readable', 'the end of the handle counts too';
    $client->leave;
    ok wait_until(10, sub { $conn->wait(undef, 0) eq 'gone' }), 'the client has disconnected';
    is $conn->wait($from), 'gone', 'that comes before a readable handle';
};

subtest 'a client that disconnects during a wait' => sub {
    my ($conn, $client) = pair();
    local $SIG{ALRM} = sub { $client->leave };
    Time::HiRes::alarm(0.05);
    is $conn->wait, 'gone', 'wait returns gone';
};

subtest 'a stream that the application has closed' => sub {
    my ($conn) = pair();
    my ($from, $to) = pipes();
    syswrite $to, 'x';
    $conn->close;
    is $conn->wait($from, 10), 'gone', 'wait returns gone at once';
};

subtest 'callbacks and handlers of signals run during a wait' => sub {
    my ($conn) = pair();
    my ($other, $client) = pair();
    my $told = 0;
    $other->on_close(sub { $told++; $conn->close });
    $client->leave;
    is $conn->wait, 'gone', 'a callback that closes the stream ends the wait';
    is $told,       1,      'it has run once';

    ($conn) = pair();
    local $SIG{ALRM} = sub { die "alarm\n" };
    Time::HiRes::alarm(0.05);
    ok !eval { $conn->wait; 1 }, 'a handler of a signal may die';
    is $@, "alarm\n", 'its exception ends the wait';

    my ($from, $to) = pipes();
    local $SIG{ALRM} = sub { close $from };
    Time::HiRes::alarm(0.05);
    my @warned;
    local $SIG{__WARN__} = sub { push @warned, @_ };
    is $conn->wait($from), 'readable', 'a handle that is closed meanwhile is at its end';
    is_deeply \@warned, [], 'without a warning';
};

subtest 'a handle beyond the first 1,024 descriptors' => sub {
    my ($conn) = pair();
    my ($from, $to) = pipes();
    my @held;
    while (fileno $from < 1_100) {
        push @held, $from;
        open my $copy, '<&', $from or last;
        $from = $copy;
    }
    plan skip_all => 'this process may not have so many descriptors' if fileno $from < 1_100;
    is $conn->wait($from, 0), 'timeout', 'it is not readable yet';
    syswrite $to, 'x';
    is $conn->wait($from), 'readable', 'it is readable';
};

subtest 'a TLS handle that has decrypted bytes already' => sub {
    my ($conn, $client) = pair();
    socketpair my $handle, my $peer, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!";
    bless $handle, 'Decrypted';
    ${*$handle}{pending} = 3;
    is $conn->wait($handle), 'readable', 'it is readable, though its socket is not';
    ${*$handle}{pending} = 0;
    is $conn->wait($handle, 0), 'timeout', 'when all is read it is not';
    ${*$handle}{pending} = 3;
    $conn->close;
    is $conn->wait($handle), 'gone', 'the end of the stream comes first';
};

subtest 'a handle of IO::Socket::SSL' => sub {
    plan skip_all => 'there is no IO::Socket::SSL here' if !has_module('IO::Socket::SSL');
    require IO::Socket::SSL;
    require IO::Socket::SSL::Utils;
    my ($certificate, $key) = IO::Socket::SSL::Utils::CERT_create(subject => {commonName => 'localhost'});
    socketpair my $handle, my $peer, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!";
    defined(my $pid = fork) or die "fork: $!";
    if (!$pid) {
        close $handle;
        my $server = IO::Socket::SSL->start_SSL(
            $peer,
            SSL_server => 1,
            SSL_cert   => $certificate,
            SSL_key    => $key
        );
        syswrite $server, 'hello' if $server;
        sysread $peer, my $rest, 100 if $server;
        POSIX::_exit(0);
    }
    close $peer;
    my ($conn) = pair();
    my $tls = IO::Socket::SSL->start_SSL($handle, SSL_verify_mode => 0);
    is $conn->wait($tls), 'readable', 'it is readable when a record has arrived';
    sysread $tls, my $bytes, 1;
    is $bytes,            'h',        'its reader takes one byte';
    is $conn->wait($tls), 'readable', 'it is still readable: four bytes are decrypted';
    sysread $tls, $bytes, 100;
    is $bytes,               'ello',    'the reader takes them';
    is $conn->wait($tls, 0), 'timeout', 'then it is not';
    close $tls;
    waitpid $pid, 0;
};

subtest 'wrong arguments of wait' => sub {
    my ($conn) = pair();
    my ($from, $to) = pipes();
    close $from;
    open my $memory, '<', \'text' or die $!;
    for my $case (
        [[$from],       'handle',  'a closed handle'],
        [[$memory],     'handle',  'a handle without a descriptor'],
        [['no_handle'], 'handle',  'a name'],
        [[{}],          'handle',  'another reference'],
        [[0],           'handle',  'a number'],
        [[undef, -1],   'seconds', 'a negative number of seconds'],
        [[undef, 'x'],  'seconds', 'a word'],
    ) {
        my ($given, $field, $what) = @$case;
        my $line = __LINE__ + 1;
        ok !eval { $conn->wait(@$given); 1 }, "$what is refused";
        is $@->code,  'invalid', 'the error has the code invalid';
        is $@->field, $field,    'it names the field';
        like "$@", qr/ at \Q${\__FILE__}\E line $line\.$/, 'and the line';
    }
    my ($looping) = pair(is_loop => 1);
    ok !eval { $looping->wait(undef, 0); 1 }, 'a wait in an event loop is refused';
    is $@->code, 'state', 'the error has the code state';
    my $callbacks = Plack::App::EventSource::Connection->new(push_cb => sub { }, close_cb => sub { });
    ok !eval { $callbacks->wait(undef, 0); 1 }, 'a connection without a stream is refused';
    is $@->code, 'state', 'the error has the code state';
};

subtest 'wrong arguments of spawn' => sub {
    my ($conn) = pair();
    for my $case (
        [['code'],                     'callback',     'something other than code'],
        [[],                           'callback',     'nothing'],
        [[sub { }, grace => -1],       'grace',        'a negative grace'],
        [[sub { }, max_children => 0], 'max_children', 'no child at all'],
        [[sub { }, max_childs => 1],   'max_childs',   'an unknown option'],
    ) {
        my ($given, $field, $what) = @$case;
        my $line = __LINE__ + 1;
        ok !eval { $conn->spawn(@$given); 1 }, "$what is refused";
        is $@->code,  'invalid', 'the error has the code invalid';
        is $@->field, $field,    'it names the field';
        like "$@", qr/ at \Q${\__FILE__}\E line $line\.$/, 'and the line';
    }
    my $callbacks = Plack::App::EventSource::Connection->new(push_cb => sub { }, close_cb => sub { });
    my ($subscribed) = pair(is_loop => 1);
    EventSource::Hub->new(per_process => 1)->subscribe($subscribed, 'news');
    for my $case ([$callbacks, qr/not native/], [$subscribed, qr/subscribed to a hub/]) {
        my ($with, $why) = @$case;
        ok !eval {
            $with->spawn(sub { });
            1;
        }, "refused: $why";
        is $@->code, 'state', 'the error has the code state';
        like "$@", $why, 'it says why';
    }
    $conn->close;
    is $conn->spawn(sub { }), !!0, 'a stream that has ended starts no child';
};

done_testing;
