# Signals of perl's beside the thread that writes: their handlers run where the interpreter is, and harm nothing.

use strict;
use warnings;

use lib 't/lib';
use Testing::Deadline qw(wait_until);
use EventSource::Stream;
use EventSource::XS;
use Test::More;
BEGIN { plan skip_all => 'there is no native writer on this system' if !EventSource::XS->can('_next_end') }
use Testing::StreamPair;
use Plack::Util;
use POSIX       qw(_exit getppid);
use Time::HiRes ();

my $DEADLINE = 20;                                                            # seconds
my %HANDLER  = (is_loop => 0, on_full => 'block', max_buffered => 100_000);
my @SIGNALS  = qw(ALRM CHLD HUP USR1 USR2 WINCH IO);

# Which thread runs this.
sub thread { return readlink('/proc/thread-self') =~ /(\d+)\z/ ? $1 : 0 }

# The signals that a thread of this process takes, by its name.
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

subtest 'a storm of signals' => sub {
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
            Time::HiRes::usleep(500);    # perl dies of too many that wait
        }
        _exit(0);
    }
    my $pushed = 0;
    my $enough = wait_until(
        $DEADLINE,
        sub {
            for (1 .. 20) {
                $pushed++;
                $_->[0]->write("data: $pushed\n\n") for @pairs;
            }
            return $pushed >= 2_000 && !grep { ($count{$_} || 0) < 100 } @SIGNALS;
        }
    );
    kill KILL => $storm;
    waitpid $storm, 0;
    ok $enough, 'a hundred of each while two thousand events are pushed';
    is_deeply \%elsewhere, {}, 'their handlers ran on the thread of the interpreter';
    my $all = join '', map { "data: $_\n\n" } 1 .. $pushed;
    $_->[0]->close for @pairs;
    is scalar(grep { $_->[1]->read_all && $_->[1]->body eq $all } @pairs), 50, 'every event has arrived';
};

subtest 'the thread takes no signal' => sub {
    my ($stream, $client) = Testing::StreamPair->open;
    my $blocked = mask_of('eventsource-xs');
    ok defined $blocked, 'it is there' or return;
    my %number =
        map { my $name = $_; ($name => POSIX->can("SIG$name")->()) } qw(ALRM CHLD HUP INT QUIT TERM USR1 USR2 PIPE);
    is_deeply [grep { !($blocked & 1 << $number{$_} - 1) } sort keys %number], [], 'that perl may handle';
    my $own = mask_of((split m{/}, $^X)[-1] =~ s/\A(.{15}).*/$1/r);
    ok !($blocked == ($own // 0)), 'the thread of the interpreter does';
};

subtest 'a handler runs while a push waits' => sub {
    my ($stream, $client) = Testing::StreamPair->open(%HANDLER);
    my $rings = 0;
    local $SIG{ALRM} = sub { $rings++; $client->read_all(0.02) if $rings > 2 };
    Time::HiRes::setitimer(Time::HiRes::ITIMER_REAL(), 0.05, 0.05);
    my $taken = 0;
    wait_until($DEADLINE, sub { $taken += $stream->write('x' x 60_000) for 1 .. 50; $rings > 4 });
    Time::HiRes::setitimer(Time::HiRes::ITIMER_REAL(), 0);
    cmp_ok $rings, '>', 4, 'several times, and it is what lets the push go on';
    ok $stream->is_open, 'the stream goes on';
    $stream->leave_handler;
    $stream->close;
    ok $client->read_all, 'to its end';
    is length $client->body, 60_000 * $taken, 'with all that was taken';
};

subtest 'a handler that dies ends a push that waits' => sub {
    my ($stream, $client) = Testing::StreamPair->open(%HANDLER);
    local $SIG{ALRM} = sub { die "enough\n" };
    my $taken = 0;
    Time::HiRes::alarm(0.3);
    my $returned = eval { $taken++ while $stream->write('x' x 60_000); 1 };
    ok !$returned, 'it returns';
    is $@, "enough\n", 'by that';
    ok $stream->is_open, 'the stream goes on';
    $stream->close;
    ok $client->read_all, 'to its end';
    is length $client->body, 60_000 * $taken, 'without anything of what was being pushed';
};

subtest 'a handler may push and close' => sub {
    my ($stream, $client) = Testing::StreamPair->open(%HANDLER);
    local $SIG{USR1} = sub { $stream->write("data: from a handler\n\n"); $stream->close };
    kill USR1 => $$;
    ok $client->read_all, 'it ends';
    is $client->body, "data: from a handler\n\n", 'with that';

    ($stream, $client) = Testing::StreamPair->open(%HANDLER);
    local $SIG{ALRM} = sub { $stream->close };
    Time::HiRes::alarm(0.2);
    my $taken = 0;
    $taken++ while $stream->write('x' x 60_000);
    ok $client->read_all, 'one that is ended while a push to it waits ends';
    is length $client->body, 60_000 * $taken, 'with all that was taken';
};

subtest 'children are reaped as ever' => sub {
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
    ok wait_until($DEADLINE, sub { keys %status == 20 }), 'all';
    is_deeply [sort { $a <=> $b } values %status], [1 .. 20], 'with their status';
};

# As that of a server has it that writes to the socket itself.
{

    package HTTP::Server::PSGI;    ## no critic (Modules::ProhibitMultiplePackages)

    sub main::responder {
        my $io = shift;
        return sub {
            syswrite $io, "HTTP/1.1 200 OK\r\nX-One: 1\r\n\r\n";
            return Plack::Util::inline_object(write => sub { syswrite $io, $_[0] }, close => sub { close $io });
        };
    }
}

subtest 'a handler that dies while a response is taken over' => sub {
    my ($number, $client) = Testing::StreamPair->connect;
    open my $io, '+<&=', $number or die "fdopen: $!";
    my $env = {REQUEST_METHOD => 'GET', 'psgix.io' => $io, 'psgi.errors' => \*STDERR};
    local $SIG{ALRM} = sub { die "alarm\n" };
    my $is_open = !!1;
    {
        # The stream has just begun, and nobody has it yet.
        no warnings 'redefine';
        local *EventSource::XS::_linger = sub { kill ALRM => $$; return };
        $is_open = eval { EventSource::Stream->open($env, responder($io), [200, []], ''); 1 };
    }
    is $is_open, undef,     'ends it';
    is $@,       "alarm\n", 'and is heard of';
    close $io;
    ok $client->read_all, 'the client sees the end';
    is $client->body,            '',  'nothing a second time';
    is $client->header('X-One'), '1', 'and one head';
};

done_testing;
