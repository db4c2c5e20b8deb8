# Streams that are open when their process ends: the exit status is the same as without them, the application's destructors
# run, and on_close is given the reason.

use lib 't/lib';
use Testing;
use Testing::Client;
use Config                     qw(%Config);
use File::Temp                 ();
use Testing::ControlledProcess qw(output_of);
use Testing::Process           qw(is_asleep);
use Testing::Server            qw(subtest_once);

my %START = (Starman => [workers => 1], Starlet => [workers => 1]);

# True if a stream ends when its handler returns.
sub ends_with_handler {
    my ($name, $native) = @_;
    return !$native && $name !~ /Twiggy|Feersum/;
}

sub plain_request {
    my $server = shift;
    return Testing::Client->get($server->port, '/plain', headers => [Connection => 'close'])->read_all;
}

# Runs an application on a server until a signal ends it. Returns the status, the lines that the process has reported, and
# what it has printed.
sub run {
    my ($name, $signal, $native, $streams, $waits) = @_;
    my $journal = File::Temp->new(TEMPLATE => 'journal-XXXXXX', TMPDIR => 1);
    my %env     = (EXIT_JOURNAL => $journal->filename, EXIT_NATIVE => $native);
    my $server  = Testing::Server->start($name, 't/data/exit.psgi', @{$START{$name} || []}, env => \%env);
    ok plain_request($server), 'an ordinary request is answered';
    my @clients = map { Testing::Client->get($server->port, '/held') } 1 .. $streams;
    is scalar(grep { $_->read_until(qr/^event: held\r\n\r\n/m) } @clients), $streams, "$streams streams begin";

    # A stream that is not native has ended when the only worker answers again.
    plain_request($server) if $streams && ends_with_handler($name, $native);

    # A worker of Starman that has just answered ends without END blocks, also without this library.
    wait_until sub {
        0 == grep { !is_asleep($_) } $server->pids;
    };
    kill $signal => $server->pid;

    if ($waits) {
        ok !wait_until(0.3, sub { $server->has_ended }), 'the server waits for its clients';
        $_->leave for @clients;
    }
    ok wait_until(sub { $server->has_ended }), 'the server ends';

    # Its workers are its children, and most servers wait for them.
    wait_until($name eq 'Starman' ? 10 : 1, sub { !$server->pids });
    seek $journal, 0, 0;
    chomp(my @lines = readline $journal);
    $_->leave for @clients;
    my $printed = $server->log;
    return ($server->stop, [sort @lines], $printed);
}

# The reasons that on_close is given.
sub reasons {
    my ($name, $native, $streams, $ends, $waits) = @_;
    return ('application') x $streams if ends_with_handler($name, $native);
    my $reason = $waits ? 'client' : 'server';
    return $ends ? ($reason) x $streams : ();
}

for my $name (Testing::Server->tested('HTTP::Server::PSGI', qw(Starman Starlet Twiggy Feersum))) {
    for my $signal (qw(TERM QUIT INT)) {
        for my $native (0, 'auto') {
            subtest "$name, $signal, native => $native" => sub {
                my ($usual, $usual_lines) = run($name, $signal, $native, 0);
                my $streams = $name =~ /Twiggy|Feersum/ ? 3 : 1;

                # A graceful stop of Twiggy waits for responses on its own writer.
                my $waits = $name eq 'Twiggy' && $signal eq 'QUIT' && !$native;
                my ($status, $lines, $printed) = run($name, $signal, $native, $streams, $waits);
                is $status, $usual, "the status is $usual, as without streams";

                # Feersum 1.507 runs no END blocks, but the streams end first.
                my $ends = grep { $_ eq 'END' } @$lines;
                $ends ||= $name eq 'Feersum' && Testing::Server->has_new_feersum;
                is_deeply [grep { !/^closed/ } @$lines], $usual_lines,
                    'END blocks and destructors run as without streams'
                    or diag $printed;
                my @closed = grep { /^closed/ } @$lines;
                is_deeply \@closed, [map { "closed: $_" } reasons($name, $native, $streams, $ends, $waits)],
                    'on_close runs for each stream';
                unlike $printed, qr/DESTROY|new reference|callback died/, 'the server prints no warning of the library';
            };
        }
    }
}

# The beginning of each program: hold() returns a held connection on a writer that prints its calls.
my $PRELUDE = <<'PRELUDE';
    use strict; use warnings;
    use EventSource::XS::Stream::Writer;
    use IO::Handle;
    use Plack::App::EventSource::Connection;
    $| = 1;
    sub Kept::DESTROY  { print "destroyed\n" }
    sub Printer::write { 1 }
    sub Printer::close { print "response ended\n" }
    our $kept = bless [], 'Kept';
    our %readers;
    sub hold {
        my %env = (@_);
        my $stream = EventSource::XS::Stream::Writer->new(bless([], 'Printer'), \%env);
        my $conn   = Plack::App::EventSource::Connection->new(stream => $stream);
        $readers{$conn} = $conn;
        $conn->on_close(sub { my ($conn, $why) = @_; print "closed: $why\n"; delete $readers{$conn} });
        return $conn;
    }
PRELUDE

# The status of a program and the lines that it has printed.
sub lines_of {
    my $code = shift;
    my ($status, $said) = output_of($^X, qw(-Mblib -e), $PRELUDE . $code);
    return ($status >> 8, [grep { !/blib/ } split /\n/, $said]);
}

my @ALL      = ('response ended', 'closed: server', 'destroyed');
my $REST     = 'EventSource::XS->dispatch; exit 3';
my @PROGRAMS = (
    ['the end of the program'    => 'hold();',                                                   0,   @ALL],
    ['exit'                      => 'hold(); exit 3',                                            3,   @ALL],
    ['exit, under an event loop' => 'hold("psgi.nonblocking" => 1); exit 3',                     3,   @ALL],
    ['die'                       => 'hold(); open STDERR, ">", "/dev/null"; $! = 0; die "oh\n"', 255, @ALL],
    ['a callback that dies'      => 'hold()->on_close(sub { close STDERR; die }); exit 3',       3,   @ALL],
    ['no END'                    => 'hold(); require POSIX; POSIX::_exit(4)',                    4],
    ['only destruction ends it'  => 'my $c = hold(); $c->{same} = $c; %readers = (); exit 3',    3, @ALL],
    ['a stream that has ended' => "hold()->close; $REST",                  3, $ALL[0], 'closed: application', $ALL[2]],
    ['it is not held'          => "hold()->is_open; %readers = (); $REST", 3, $ALL[0], 'closed: application', $ALL[2]],
    [
        'a callback that opens a stream' => 'hold()->on_close(sub { hold()->close }); exit 3',
        3, @ALL[0, 1, 0, 2]
    ],
    [
        'a child that exits' => 'hold(); my $pid = fork; exit 5 if !$pid; waitpid $pid, 0; print $? >> 8, "\n"; exit 3',
        3, 'destroyed', 5, @ALL
    ],
    ['a client that takes nothing' => <<'CODE', 3, @ALL[1, 2]],
        use Socket;
        socketpair my $client, my $socket, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die;
        $socket->blocking(0);
        1 while syswrite $socket, "x" x 65_536;
        $socket->blocking(1);
        { no warnings; *Printer::close = sub { syswrite $socket, "x" x 65_536 } }
        $SIG{ALRM} = 'DEFAULT'; alarm 5;
        our @kept = ($client, hold('psgix.io' => $socket)); exit 3
CODE
);
my $JOINED = '->join; print "joined\n"; exit 3';
push @PROGRAMS,
    [
    'a thread that ends' => "require threads; hold(); threads->create(sub { 1 })$JOINED",
    3, 'destroyed', 'joined', @ALL
    ],
    [
    'a stream of a thread' => "require threads; threads->create(sub { hold(); 1 })$JOINED",
    3, qw(destroyed joined destroyed)
    ]
    if $Config{useithreads};

for my $program (@PROGRAMS) {
    my ($what, $code, $expected, @lines) = @$program;
    subtest_once "a program: $what" => sub {
        my ($status, $printed) = lines_of($code);

        # The order in which a thread destroys its objects is perl's affair.
        $printed = [grep { $_ ne 'response ended' } @$printed] if $what eq 'a stream of a thread';
        is $status, $expected, "the status is $expected";
        is_deeply $printed, \@lines, 'response, callback and destructor end in this order' or diag explain $printed;
    };
}

done_testing;
