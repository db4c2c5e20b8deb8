# The end of a process: each client is told when to come back, what was pushed arrives or is counted as lost, and nobody
# waits longer than linger allows. Each process is a small program that connects to this test, which is the client.

use strict;
use warnings;

use lib 't/lib';
use Testing::Developer qw(only_developers);
use EventSource::XS;
use IO::Socket::INET;
use Test::More;
BEGIN { plan skip_all => 'there is no native writer on this system' if !EventSource::XS->can('_next_end') }

only_developers();

my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 128, Proto => 'tcp')
    or die "no listener: $!";

# What each program begins with: @streams, and a word about the end of it that is printed last of all.
my $PRELUDE = <<'PRELUDE';
    use strict; use warnings;
    $| = 1;
    my ($port, $count, %setting) = @ARGV;
    my @told;
    END {
        my $stats = EventSource::XS->stats;
        print "lost=$stats->{lost} server=$stats->{closed}{server} native=$stats->{native} told=@told";
    }
    require EventSource::Stream::Native;
    require IO::Socket::INET;
    require POSIX;
    my %SETTINGS = (is_loop => 1, keepalive => 0, linger => 2, max_buffered => 1e8, on_full => 'disconnect',
        opening => '', timeout => 60, retry => 1_000, %setting);
    sub stream {
        my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Proto => 'tcp') or die "$!\n";
        my $number = EventSource::XS::_duplicate(fileno $socket);
        my $stream = EventSource::Stream::Native->open($number, "head\n", %SETTINGS, @_);
        $stream->on_close(sub { push @told, $_[1] });
        return $stream;
    }
    my @streams = map { stream() } 1 .. $count;
PRELUDE

# Runs a program with so many streams, of which it begins some (more) itself. Returns what they read, what the program printed, and its status.
sub run_to_its_end {
    my ($code, $count, %option) = @_;
    pipe my $from, my $to or die "pipe: $!";
    defined(my $pid = fork) or die "fork: $!";
    if (!$pid) {
        open STDOUT, '>&', $to or die $!;
        open STDERR, '>&', $to or die $! if $option{quietly};
        exec {$^X} $^X, qw(-Mblib -It/lib -e), $PRELUDE . $code, $listener->sockport, $count - ($option{more} || 0),
            %{$option{settings} || {}}
            or POSIX::_exit(127);
    }
    close $to;
    my @clients = map                            { scalar $listener->accept } 1 .. $count;
    my @read    = $option{reads_late} ? () : map { my $client = $_; join '', readline $client } @clients;
    kill $option{signal} => $pid if $option{signal};
    my $printed = do { local $/; readline $from };
    waitpid $pid, 0;
    my $status = $?;
    @read = map { my $client = $_; join '', readline $client } @clients if $option{reads_late};
    return (\@read, $printed, $status);
}

my $PUSH = 'for my $number (1 .. 200) { $_->write("data: $number\n\n") for @streams } ';
my $ALL  = join '', map { "data: $_\n\n" } 1 .. 200;

my %END = (
    'the end of the program'    => ['',                                                                      0],
    'exit'                      => ['exit 3',                                                                3],
    'die'                       => ['$! = 0; die "on purpose\n"',                                            255],
    'exit in a sub of an eval'  => ['eval { sub { exit 4 }->() }; print "lived "',                           4],
    'exit in a handler of TERM' => ['$SIG{TERM} = sub { exit 5 }; kill TERM => $$; sleep 10',                5],
    'die in a handler of ALRM'  => ['$SIG{ALRM} = sub { $! = 0; die "alarm\n" }; kill ALRM => $$; sleep 10', 255],
);

for my $how (sort keys %END) {
    subtest $how => sub {
        my ($code, $status) = @{$END{$how}};
        my ($read, $printed, $ended) = run_to_its_end($PUSH . $code, 30, quietly => !!($how =~ /die/));
        my @retry = map { /\Ahead\n\Q$ALL\Eretry: (\d+)\r\n\r\n\z/ ? $1 : () } @$read;
        is scalar @retry, 30, 'each client got all that was pushed, and a time to come back at' or diag $read->[0];
        is scalar(grep { $_ >= 1_000 && $_ <= 2_000 } @retry), 30, 'between once and twice the retry';
        cmp_ok keys %{{map { ($_ => 1) } @retry}}, '>', 5, 'each its own';
        is $ended >> 8, $status, 'the status stands';
        my $told = join ' ', ('server') x 30;
        like $printed, qr/^lost=0 server=30 native=0 told=\Q$told\E\z/m, 'all is told';
    };
}

subtest 'a retry of two numbers' => sub {
    my ($read) = run_to_its_end('push @streams, map { stream(retry => [5_000, 6_000]) } 1 .. 9', 10, more => 9);
    my ($first, @others) = map { /retry: (\d+)/ } @$read;
    is scalar @others,                                       9, 'nine of them';
    is scalar(grep { $_ >= 5_000 && $_ <= 10_000 } @others), 9, 'between once and twice the smaller';
};

subtest 'without a retry' => sub {
    my ($read)  = run_to_its_end('push @streams, stream(retry => undef)', 2, more => 1);
    my ($retry) = $read->[1] =~ /retry: (\d+)/;
    ok $retry >= 2_000 && $retry <= 4_000, 'it is two seconds to four' or diag $retry;
};

my $MUCH = 'for my $number (1 .. 100) { $_->write("data: " . "x" x 100_000 . "\n\n") for @streams } ';
subtest 'a client that reads late' => sub {
    my ($read, $printed, $status) = run_to_its_end($MUCH . 'exit 3', 2, reads_late => 1, settings => {linger => 0.2});
    my ($lost) = $printed =~ /lost=(\d+) server=2 native=0 told=server server/;
    ok $lost, 'is not waited for longer than linger, and what it has not got is counted' or diag $printed;
    my $whole = () = join('', @$read) =~ /^data: x+\n\n/mg;
    is $whole + ($lost // 0), 200, 'each event has arrived, or is counted as lost';
    is $status >> 8,          3,   'the status stands';
};

# They do read to the end, but leave their side open until the program is over.
subtest 'clients that do not close' => sub {
    local $SIG{ALRM} = sub { die "they are waited for\n" };
    alarm 30;
    my ($read) = run_to_its_end($PUSH . 'exit', 3, settings => {linger => 600});
    alarm 0;
    is scalar(grep { /\Ahead\n\Q$ALL\Eretry/ } @$read), 3, 'are not waited for when all is sent';
};

subtest 'linger => 0' => sub {
    my ($read, $printed, $status) = run_to_its_end($PUSH . 'exit 3', 2, settings => {linger => 0});
    my ($lost) = $printed =~ /lost=(\d+) server=2 native=0 told=server server/;
    ok defined $lost, 'ends them too' or diag $printed;
    my $whole = () = join('', @$read) =~ /^data: \d+\n\n/mg;
    is $whole + ($lost // 0), 400, 'each event has arrived, or is counted as lost';
    is $status >> 8,          3,   'the status stands';
};

subtest 'the longest linger counts' => sub {
    my ($read) =
        run_to_its_end($PUSH . 'push @streams, stream(linger => 0); exit', 2, more => 1, settings => {linger => 5});
    like $read->[0], qr/\Ahead\n\Q$ALL\Eretry/, 'for all';
};

subtest 'a callback that meddles with the end' => sub {
    my ($read, $printed, $status) =
        run_to_its_end('$streams[0]->on_close(sub { system "false"; die "on purpose\n" }); exit 3', 1, quietly => 1);
    is $status >> 8, 3, 'does not change the status';
    like $printed, qr/a callback died: on purpose/, 'and its exception is a warning';
};

subtest 'a connection that is held to the end' => sub {
    my $code = 'require Plack::App::EventSource::Connection;'
        . 'our @kept = map { Plack::App::EventSource::Connection->new(stream => $_) } @streams; exit 3';
    my ($read, $printed, $status) = run_to_its_end($code, 2);
    is $status >> 8,                        3, 'does not change the status';
    is scalar(grep { /^retry: /m } @$read), 2, 'and its client is told';
};

subtest 'an end that runs no END' => sub {
    for my $end ('POSIX::_exit(3)', 'kill KILL => $$', 'exec "true"') {
        my ($read) = run_to_its_end("$PUSH$end", 2);
        is scalar(grep { /\A(?:head\n)?(?:data: \d+\n\n)*(?:data[^\n]*)?\z/ } @$read), 2, "$end ends the streams";
    }
};

subtest 'exit in a push that waits' => sub {
    my $code = '$SIG{ALRM} = sub { exit 3 }; alarm 1; 1 while $streams[0]->write("data: " . "x" x 100_000 . "\n\n")';
    my %settings = (is_loop => 0, on_full => 'block', linger => 0.1, max_buffered => 1_000_000);
    my ($read, $printed, $status) = run_to_its_end($code, 1, reads_late => 1, settings => \%settings);
    is $status >> 8, 3, 'ends the program';
    like $printed, qr/server=1 native=0 told=server\z/, 'and the stream';
};

done_testing;
