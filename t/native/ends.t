# The end of a process: each client receives a reconnection time, pushed events arrive or are counted as lost, and the process
# waits no longer than linger. Each process is a small program that connects to this test, which is the client.

use lib 't/lib';
use Testing qw(native);
use EventSource::XS;
use IO::Socket::INET;

my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 128, Proto => 'tcp')
    or die "no listener: $!";

# The beginning of each program: it opens @streams, and prints statistics at its very end.
my $PRELUDE = <<'PRELUDE';
    use strict; use warnings; use EventSource::XS ();
    $| = 1;
    my ($port, $count, %setting) = @ARGV;
    my @told;
    END {
        my $stats = EventSource::XS->stats;
        print "lost=$stats->{lost} server=$stats->{closed}{server} native=$stats->{native} told=@told";
    }
    require EventSource::XS::Stream::Native;
    require IO::Socket::INET;
    require POSIX;
    my %SETTINGS = (is_loop => 1, keepalive => 0, linger => 2, max_buffered => 1e8, on_full => 'disconnect',
        opening => '', timeout => 60, retry => 1_000, %setting);
    sub stream {
        my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Proto => 'tcp') or die "$!\n";
        my $number = EventSource::XS::_duplicate(fileno $socket);
        my $stream = EventSource::XS::Stream::Native->open($number, "head\n", %SETTINGS, @_);
        $stream->on_close(sub { push @told, $_[1] });
        return $stream;
    }
    my @streams = map { stream() } 1 .. $count;
PRELUDE

# Runs a program with so many streams, of which it begins some (more) itself. Returns what they read, what the program
# printed, and its status.
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
    subtest "a process that ends by $how ends its streams" => sub {
        my ($code, $status) = @{$END{$how}};
        my ($read, $printed, $ended) = run_to_its_end($PUSH . $code, 30, quietly => !!($how =~ /die/));
        my @retry = map { /\Ahead\n\Q$ALL\Eretry: (\d+)\r\n\z/ ? $1 : () } @$read;
        is scalar @retry, 30, 'each client receives all events and a retry' or diag $read->[0];
        is scalar(grep { $_ >= 1_000 && $_ <= 2_000 } @retry), 30, 'retry is from once to twice the setting';
        cmp_ok keys %{{map { ($_ => 1) } @retry}}, '>', 5, 'retry differs between clients';
        is $ended >> 8, $status, 'the exit status is unchanged';
        my $told = join ' ', ('server') x 30;
        like $printed, qr/^lost=0 server=30 native=0 told=\Q$told\E\z/m,
            'on_close runs for every stream with the reason server, no event is lost';
    };
}

subtest 'the retry at the end of a process is made from the smaller of two numbers' => sub {
    my ($read) = run_to_its_end('push @streams, map { stream(retry => [5_000, 6_000]) } 1 .. 9', 10, more => 9);
    my ($first, @others) = map { /retry: (\d+)/ } @$read;
    is scalar @others, 9, 'nine clients receive a retry';
    is scalar(grep { $_ >= 5_000 && $_ <= 10_000 } @others), 9,
        'retry of two numbers is from once to twice the smaller';
};

subtest 'the retry at the end of a process has a default' => sub {
    my ($read)  = run_to_its_end('push @streams, stream(retry => undef)', 2, more => 1);
    my ($retry) = $read->[1] =~ /retry: (\d+)/;
    ok $retry >= 2_000 && $retry <= 4_000, 'retry is from 2 to 4 seconds without a setting' or diag $retry;
};

my $MUCH = 'for my $number (1 .. 100) { $_->write("data: " . "x" x 100_000 . "\n\n") for @streams } ';
subtest 'the end waits for a late client no longer than linger' => sub {
    my ($read, $printed, $status) = run_to_its_end($MUCH . 'exit 3', 2, reads_late => 1, settings => {linger => 0.2});
    my ($lost) = $printed =~ /lost=(\d+) server=2 native=0 told=server server/;
    ok $lost, 'the events that a late client has not received are counted as lost' or diag $printed;
    my $whole = () = join('', @$read) =~ /^data: x+\n\n/mg;
    is $whole + ($lost // 0), 200, 'each event has arrived or is counted as lost';
    is $status >> 8,          3,   'the exit status is unchanged';
};

# The clients read everything, but keep their side open until the program has ended.
subtest 'the end does not wait for clients that have read everything but do not close' => sub {
    local $SIG{ALRM} = sub { die "they are waited for\n" };
    alarm 30;
    my ($read) = run_to_its_end($PUSH . 'exit', 3, settings => {linger => 600});
    alarm 0;
    is scalar(grep { /\Ahead\n\Q$ALL\Eretry/ } @$read), 3, 'every client receives all events and a retry';
};

subtest 'with linger => 0 streams end at once' => sub {
    my ($read, $printed, $status) = run_to_its_end($PUSH . 'exit 3', 2, settings => {linger => 0});
    my ($lost) = $printed =~ /lost=(\d+) server=2 native=0 told=server server/;
    ok defined $lost, 'both streams end with the reason server' or diag $printed;
    my $whole = () = join('', @$read) =~ /^data: \d+\n\n/mg;
    is $whole + ($lost // 0), 400, 'each event has arrived or is counted as lost';
    is $status >> 8,          3,   'the exit status is unchanged';
};

subtest 'the longest linger of all streams counts' => sub {
    my ($read) =
        run_to_its_end($PUSH . 'push @streams, stream(linger => 0); exit', 2, more => 1, settings => {linger => 5});
    like $read->[0], qr/\Ahead\n\Q$ALL\Eretry/, 'the stream with the longer linger receives all events';
};

subtest 'a callback that dies at the end of the process does not change its status' => sub {
    my ($read, $printed, $status) =
        run_to_its_end('$streams[0]->on_close(sub { system "false"; die "on purpose\n" }); exit 3', 1, quietly => 1);
    is $status >> 8, 3, 'the exit status is that of exit';
    like $printed, qr/a callback died: on purpose/, 'the exception of the callback is a warning';
};

subtest 'a callback at the end of the process may publish and count subscribers' => sub {
    my $code =
          'require EventSource::Hub; my $hub = EventSource::Hub->new; $hub->publish(news => "first"); '
        . '$streams[0]->on_close(sub { my $id = $hub->publish(news => {id => "own", data => "late"}); '
        . 'print defined $id ? "id $id " : "undef ", "count=", $hub->subscribers("news"), " " }); exit 3';
    my ($read, $printed, $status) = run_to_its_end($code, 1, quietly => 1);
    is $status >> 8, 3, 'the exit status is that of exit';
    like $printed,   qr/undef count=0/, 'publish returns undef, and there are no subscribers';
    unlike $printed, qr/died/,          'nothing is logged';
};

subtest 'a connection that is held during global destruction ends' => sub {
    my $code = 'require Plack::App::EventSource::Connection;'
        . 'our @kept = map { Plack::App::EventSource::Connection->new(stream => $_) } @streams; exit 3';
    my ($read, $printed, $status) = run_to_its_end($code, 2);
    is $status >> 8,                        3, 'the exit status is that of exit';
    is scalar(grep { /^retry: /m } @$read), 2, 'each client of a held connection receives a retry';
};

subtest 'a process that ends without END blocks ends its streams' => sub {
    for my $end ('POSIX::_exit(3)', 'kill KILL => $$', 'exec "true"') {
        my ($read) = run_to_its_end("$PUSH$end", 2);
        is scalar(grep { /\A(?:head\n)?(?:data: \d+\n\n)*(?:data[^\n]*)?\z/ } @$read), 2, "$end ends the streams";
    }
};

subtest 'exit during a push that blocks ends the process' => sub {
    my $code = '$SIG{ALRM} = sub { exit 3 }; alarm 1; 1 while $streams[0]->write("data: " . "x" x 100_000 . "\n\n")';
    my %settings = (is_loop => 0, on_full => 'block', linger => 0.1, max_buffered => 1_000_000);
    my ($read, $printed, $status) = run_to_its_end($code, 1, reads_late => 1, settings => \%settings);
    is $status >> 8, 3, 'the exit status of the program is that of exit';
    like $printed, qr/server=1 native=0 told=server\z/, 'the stream ends with the reason server';
};

done_testing;
