# $conn->wait: handles of every kind, streams that have ended. t/settings/mistakes.t has wrong arguments, of $conn->spawn, too.

use lib 't/lib';
use Testing qw(native);
use Plack::App::EventSource::Connection;
use Socket             qw(AF_UNIX PF_UNSPEC SOCK_STREAM);
use POSIX              ();
use Testing::Developer qw(has_module);
use Testing::StreamPair;
use Time::HiRes ();

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

subtest 'a stream that has ended starts no child' => sub {
    my ($conn) = pair();
    $conn->close;
    is $conn->spawn(sub { }), !!0, 'spawn returns false';
};

done_testing;
