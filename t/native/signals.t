# Perl's signal handlers beside the reactor: they run on the interpreter's thread and lose no event.

use lib 't/lib';
use Testing qw(native);
use EventSource::XS::Stream;
use Testing::StreamPair;
use Plack::Util;
use POSIX       qw(_exit getppid);
use Time::HiRes ();

my %HANDLER = (is_loop => 0, on_full => 'block', max_buffered => 100_000);
my @SIGNALS = qw(ALRM CHLD HUP USR1 USR2 WINCH IO);

# Returns the id of the thread that runs this.
sub thread { return readlink('/proc/thread-self') =~ /(\d+)\z/ ? $1 : 0 }

# Returns the blocked signals of a thread of this process, by its name.
sub mask_of {
    my $name = shift;
    for my $task (glob '/proc/self/task/*') {
        open my $comm, '<', "$task/comm" or next;
        next if readline($comm) !~ /\A\Q$name\E$/;
        open my $status, '<', "$task/status" or next;
        my ($blocked) = join('', readline $status) =~ /^SigBlk:\s+([0-9a-f]+)$/m;
        return hex substr $blocked, -8;    # the first 32
    }
    return;
}

subtest 'hundreds of signals lose no event' => sub {
    my @pairs = map { [Testing::StreamPair->open] } 1 .. 50;
    my (%count, %elsewhere);
    my $main = thread();
    local @SIG{@SIGNALS} = map {
        my $name = $_;
        sub { $count{$name}++; $elsewhere{$name}++ if thread() != $main }
    } @SIGNALS;
    my $parent = $$;
    defined(my $storm = fork) or die "fork: $!";
    if (!$storm) {
        while (getppid() == $parent) {
            kill $_ => $parent for @SIGNALS;
            Time::HiRes::usleep(500);    # perl dies of too many pending signals
        }
        _exit(0);
    }
    my $pushed = 0;
    my $enough = wait_until $DEADLINE, sub {
        for (1 .. 20) {
            $pushed++;
            $_->[0]->write("data: $pushed\n\n") for @pairs;
        }
        return $pushed >= 2_000 && !grep { ($count{$_} || 0) < 100 } @SIGNALS;
    };
    kill KILL => $storm;
    waitpid $storm, 0;
    ok $enough, 'the process handles a hundred of each signal while it pushes two thousand events';
    is_deeply \%elsewhere, {}, "every signal handler runs on the interpreter's thread";
    my $all = join '', map { "data: $_\n\n" } 1 .. $pushed;
    $_->[0]->close for @pairs;
    is scalar(grep { $_->[1]->read_all && $_->[1]->body eq $all } @pairs), 50, 'every event arrives';
};

subtest 'the reactor blocks the signals that perl may handle' => sub {
    my ($stream, $client) = Testing::StreamPair->open;
    my $blocked = mask_of('eventsource-xs');
    ok defined $blocked, 'the reactor thread exists' or return;
    my %number =
        map { my $name = $_; ($name => POSIX->can("SIG$name")->()) } qw(ALRM CHLD HUP INT QUIT TERM USR1 USR2 PIPE);
    is_deeply [grep { !($blocked & 1 << $number{$_} - 1) } sort keys %number], [],
        'no signal is unblocked in the reactor';
    my $own = mask_of((split m{/}, $^X)[-1] =~ s/\A(.{15}).*/$1/r);
    ok !($blocked == ($own // 0)), "the interpreter's thread blocks other signals than the reactor";
};

subtest 'a signal handler runs while a push blocks' => sub {
    my ($stream, $client) = Testing::StreamPair->open(%HANDLER);
    my $rings = 0;
    local $SIG{ALRM} = sub { $rings++; $client->read_all(0.02) if $rings > 2 };
    Time::HiRes::setitimer(Time::HiRes::ITIMER_REAL(), 0.05, 0.05);
    my $taken = 0;
    wait_until($DEADLINE, sub { $taken += $stream->write('x' x 60_000) for 1 .. 50; $rings > 4 });
    Time::HiRes::setitimer(Time::HiRes::ITIMER_REAL(), 0);
    cmp_ok $rings, '>', 4, 'the handler runs several times and lets the push continue';
    ok $stream->is_open, 'the stream stays open';
    $stream->leave_handler;
    $stream->close;
    ok $client->read_all, 'the stream ends';
    is length $client->body, 60_000 * $taken, 'all accepted events arrive';
};

subtest 'a signal handler that dies ends a push that blocks' => sub {
    my ($stream, $client) = Testing::StreamPair->open(%HANDLER);
    local $SIG{ALRM} = sub { die "enough\n" };
    my $taken = 0;
    Time::HiRes::alarm(0.3);
    my $returned = eval { $taken++ while $stream->write('x' x 60_000); 1 };
    ok !$returned, 'the push dies';
    is $@, "enough\n", 'the push dies of the exception of the handler';
    ok $stream->is_open, 'the stream stays open';
    $stream->close;
    ok $client->read_all, 'the stream ends';
    is length $client->body, 60_000 * $taken, 'nothing of the interrupted push arrives';
};

subtest 'a signal handler may push and close' => sub {
    my ($stream, $client) = Testing::StreamPair->open(%HANDLER);
    local $SIG{USR1} = sub { $stream->write("data: from a handler\n\n"); $stream->close };
    kill USR1 => $$;
    ok $client->read_all, 'the stream ends';
    is $client->body, "data: from a handler\n\n", 'the event of the signal handler arrives';

    ($stream, $client) = Testing::StreamPair->open(%HANDLER);
    local $SIG{ALRM} = sub { $stream->close };
    Time::HiRes::alarm(0.2);
    my $taken = 0;
    $taken++ while $stream->write('x' x 60_000);
    ok $client->read_all, 'a stream that is closed while a push blocks ends';
    is length $client->body, 60_000 * $taken, 'all accepted events arrive';
};

subtest 'children are reaped by a CHLD handler' => sub {
    my ($stream) = Testing::StreamPair->open;
    my %status;
    local $SIG{CHLD} = sub {
        while ((my $pid = waitpid -1, POSIX::WNOHANG()) > 0) { $status{$pid} = $? >> 8 }
    };
    for my $number (1 .. 20) {
        defined(my $pid = fork) or die "fork: $!";
        _exit($number) if !$pid;
        $stream->write("data: $number\n\n");
    }
    ok wait_until($DEADLINE, sub { keys %status == 20 }), 'all children are reaped';
    is_deeply [sort { $a <=> $b } values %status], [1 .. 20], 'every child has its own exit status';
};

# A responder like that of a server that writes to the socket itself. It says where it is by calling the code.
package HTTP::Server::PSGI {    ## no critic (Modules::ProhibitMultiplePackages)

    sub main::responder {
        my ($io, $reaches) = @_;
        return sub {
            $reaches->('before the head');
            syswrite $io, "HTTP/1.1 200 OK\r\nX-One: 1\r\n\r\n";
            $reaches->('after the head');
            my $write = sub {
                $reaches->('before the probe');
                syswrite $io, $_[0];
                $reaches->('after the probe');
            };
            return Plack::Util::inline_object(write => $write, close => sub { close $io });
        };
    }
}

# The moments of a takeover, and what the client receives if a signal handler dies there. A server that has sent nothing
# yet answers; otherwise the response ends.
my @MOMENTS = (
    ['before the capture', 500, 'an answer'],
    ['before the head',    500, 'an answer'],
    ['after the head',     200, ''],
    ['before the probe',   200, ''],
    ['after the probe',    200, ": Probe\r\n"],
    ['after the opening',  200, ''],
);

# Whether the takeover finds the socket and the writer without the server's adapter.
my %IS_PLAIN = ('with the adapter' => !!0, 'of a plain request' => !!1);

# Calls code while the function that makes the takeover says where it is.
sub around_takeover {
    my ($is_plain, $reaches, $code) = @_;
    my $begin = EventSource::XS::Stream::Native->can('_begin');
    no warnings 'redefine';
    local $EventSource::XS::Stream::TAKES_PLAINLY  = $is_plain;
    local *EventSource::XS::Stream::Native::_begin = sub {
        $reaches->('before the capture');
        my @got = $begin->(@_);
        $reaches->('after the opening');
        return @got;
    };
    return $code->();
}

# The first takeover of a process is one with the adapter.
{
    my ($number) = Testing::StreamPair->connect;
    open my $io, '+<&=', $number or die "fdopen: $!";
    my $env = {REQUEST_METHOD => 'GET', 'psgix.io' => $io, 'psgi.errors' => \*STDERR};
    ok +EventSource::XS::Stream->open($env, responder($io, sub { }), [200, []], ''), 'a stream is opened';
}

for my $way (sort keys %IS_PLAIN) {
    for (@MOMENTS) {
        my ($moment, $status, $body) = @$_;
        next if $moment =~ /probe/ && $IS_PLAIN{$way};    # which does not probe this writer
        subtest "a signal handler that dies during a takeover $way, $moment" => sub {
            my ($number, $client) = Testing::StreamPair->connect;
            open my $io, '+<&=', $number or die "fdopen: $!";
            my $env     = {REQUEST_METHOD => 'GET', 'psgix.io' => $io, 'psgi.errors' => \*STDERR};
            my $reaches = sub { kill ALRM => $$ if $_[0] eq $moment };
            local $SIG{ALRM} = sub { die "alarm\n" };
            my $open     = sub { EventSource::XS::Stream->open($env, responder($io, $reaches), [200, []], '') };
            my $returned = eval { around_takeover($IS_PLAIN{$way}, $reaches, $open); 1 };
            is $returned, undef,     'opening the stream dies';
            is $@,        "alarm\n", 'opening the stream dies of the exception of the handler';
            syswrite $io, "HTTP/1.0 500 Error\r\n\r\nan answer" if $status == 500;
            close $io;
            ok $client->read_all, 'the response ends';
            is $client->status, $status, "the status is $status";
            is $client->body,   $body,   'the body has nothing else';
            is_deeply [$client->header('X-One')], [$status == 200 ? '1' : ()], 'the head is sent at most once';
        };
    }
}

done_testing;
