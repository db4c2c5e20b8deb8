# Native streams when their process forks: a child may continue a stream, and disturbs no other.

use lib 't/lib';
use Testing       qw(native);
use Testing::Fork qw(child_end fork_child);
use EventSource::XS;
use Testing::StreamPair;
use POSIX   qw(_exit);
use Socket  qw(AF_UNIX PF_UNSPEC SOCK_STREAM);
use sigtrap qw(die untrapped HUP INT TERM);

my %HANDLER = (is_loop => 0, on_full => 'block', max_buffered => 1_048_576);

# Children that run, by pid: they end with the test.
my %running;
my $owner = $$;

END {
    if ($$ == $owner) { local $?; kill KILL => keys %running if %running }
}

# Forks a child that runs code and exits, with END blocks. The parent can read what the child prints.
sub child {
    my $child = fork_child(shift, sub { exit $_[0] });
    $running{$child->{pid}} = 1;
    return $child;
}

sub ended {
    my $child = shift;
    my $text  = child_end($child);
    delete $running{$child->{pid}};
    return $text;
}

# A pipe that a child waits for: the child continues when the parent closes its end.
sub gate {
    pipe my $waits, my $opens or die "pipe: $!";
    return ($waits, $opens);
}

sub pass_gate {
    my ($waits, $opens) = @_;
    close $opens;
    sysread $waits, my $byte, 1;
    return;
}

sub events {
    my ($name, $count) = @_;
    return map { "data: $name $_ " . 'x' x 200 . "\n\n" } 1 .. $count;
}

sub sockets {
    my @links = map { readlink } glob '/proc/self/fd/*';
    return scalar grep { defined && /socket/ } @links;
}

for my $on_full (qw(block disconnect drop_oldest)) {
    subtest "with on_full $on_full the events of a handler arrive before those of its child" => sub {
        for my $round (1 .. 20) {
            my ($stream, $client) = Testing::StreamPair->open(%HANDLER, on_full => $on_full);
            $stream->write($_) for events('parent', 200);
            my $child =
                child(sub { $stream->write($_) || die "not taken\n" for events('child', 200); $stream->close; exit });
            undef $stream;
            my $ok   = $client->read_all && $client->body eq join '', events('parent', 200), events('child', 200);
            my $said = ended($child);
            next if $ok && $said eq '';
            fail "round $round";
            diag "the child said: $said; there are ", length $client->body, ' bytes';
            return;
        }
        pass 'the order is right in twenty rounds';
    };
}

subtest 'a child that exits ends a stream that its parent has dropped' => sub {
    my %exit = (
        'exit'                => sub { exit },
        'POSIX::_exit'        => sub { _exit(0) },
        'a push and exit'     => sub { $_[0]->write("data: child\n\n"); exit },
        'a push, and an exec' => sub {
            $_[0]->on_close(sub { });
            $_[0]->write("data: child\n\n");
            $_[0]->close;
            $_[0]->_wait_for_end(10_000);
            exec 'true';
        },
        'a program' => sub { system 'true'; exit },
    );
    for my $how (sort keys %exit) {
        my ($stream, $client) = Testing::StreamPair->open(%HANDLER);
        $stream->write("data: parent\n\n");
        my ($waits, $opens) = gate();
        my $child = child(sub { pass_gate($waits, $opens); $exit{$how}->($stream) });
        undef $stream;
        ok $client->read_until(qr/data: parent\n\n/), "$how: the stream begins";
        ok !$client->ended,                           "$how: the stream stays open when the parent drops it";
        close $opens;
        ok $client->read_all, "$how: the stream ends with the child";
        is ended($child), '', "$how: the child exits normally";
        my $more = $how =~ /push/ ? "data: child\n\n" : '';
        is $client->text, "data: parent\n\n$more", "$how: the events of parent and child arrive";
    }
};

subtest 'a child may close a stream that its parent holds' => sub {
    my ($stream, $client) = Testing::StreamPair->open(%HANDLER);
    my $child = child(sub { $stream->close; $stream->wait_for_end_briefly });
    ok $client->read_all, 'the stream ends although the child has not pushed';
    is ended($child), '', 'the child exits normally';
    $client->leave;
    ok wait_until(sub { !$stream->is_open }), 'the parent notices that the client leaves';
};

subtest 'a child of a child may continue the stream' => sub {
    my ($stream, $client) = Testing::StreamPair->open(%HANDLER);
    $stream->write("data: parent\n\n");
    my $child = child sub {
        $stream->write("data: child\n\n");
        my $grandchild =
            child(sub { $stream->write("data: grandchild\n\n"); $stream->close; $stream->wait_for_end_briefly });
        undef $stream;
        my $said = ended($grandchild);
        die "$said\n" if $said ne '';
    };
    undef $stream;
    ok $client->read_all, 'the stream ends';
    is $client->body, "data: parent\n\ndata: child\n\ndata: grandchild\n\n",
        'the events of all three processes arrive in order';
    is ended($child), '', 'no process dies';
};

# More than sockets hold, so that some bytes are unsent at the fork.
subtest 'a stream with unsent bytes stays with the parent' => sub {
    my ($stream, $client) =
        Testing::StreamPair->open(is_loop => 0, on_full => 'disconnect', max_buffered => 64 * 1_048_576);
    my @events = events('parent', 80_000);
    $stream->write($_) for @events;
    $stream->leave_handler;
    my ($waits, $opens) = gate();
    my $child = child sub {
        my $out    = shift;
        my $before = sockets();
        my $taken  = $stream->write("data: child\n\n") ? 1 : 0;
        syswrite $out, join ' ', $taken, $stream->is_open ? 1 : 0, $before - sockets();
        pass_gate($waits, $opens);
    };
    sysread $child->{from}, my $said, 100;
    is $said, '0 0 1', 'a push of the child returns false and its descriptor is closed';
    undef $stream;
    ok $client->read_all, 'the stream ends although the child runs';
    ok $client->body eq join('', @events), 'all events of the parent arrive, and nothing else'
        or diag length $client->body;
    close $opens;
    is ended($child), '', 'the child exits normally';
};

subtest 'a stream that fails ends for its client although a child runs' => sub {
    my %fail = (
        'a slow client' => [{on_full => 'disconnect'},                 sub { 1 while $_[0]->write('x' x 65_536) }],
        'a timeout'     => [{timeout => 0.1, on_full => 'disconnect'}, sub { $_[0]->write('x' x (16 * 1_048_576)) }],
        'a client that floods' => [{}, sub { my $c = $_[1]; $c->say('x' x 65_536) for 1 .. 17 }],
    );
    for my $how (sort keys %fail) {
        my ($settings, $act)    = @{$fail{$how}};
        my ($stream,   $client) = Testing::StreamPair->open(%HANDLER, %$settings);
        ok $client->read_head, "$how: the stream begins";
        my ($waits, $opens) = gate();
        my $child = child(sub { pass_gate($waits, $opens) });
        $act->($stream, $client);
        ok wait_until(sub { !$stream->is_open }), "$how: the stream has ended in the parent";
        ok $client->read_all,                     "$how: the stream has ended for the client";
        close $opens;
        is ended($child), '', 'the child exits normally';
    }
};

subtest 'a child ends no stream that its parent holds' => sub {
    my @pairs = map { [Testing::StreamPair->open(%HANDLER)] } 1 .. 5;
    is ended(child(sub { @pairs = (); exit })), '', 'a child that drops all streams exits normally';
    is ended(child(sub { exit })),              '', 'a child that holds all streams exits normally';
    is ended(child(sub { die "on purpose\n" })), "status 256: died: on purpose\n",
        'a child that dies reports its exception';
    for my $pair (@pairs) {
        ok $pair->[0]->write("data: on\n\n") && $pair->[1]->read_until(qr/data: on\n\n/),
            'a stream of the parent receives events';
    }
};

subtest 'a child has its own streams and counts' => sub {
    my ($stream, $client) = Testing::StreamPair->open;
    my $child = child sub {
        my $out   = shift;
        my @stats = EventSource::XS->stats->{opened};
        my ($own, $reader) = Testing::StreamPair->open;
        $own->write("data: own\n\n");
        push @stats, $reader->read_until(qr/data: own/) ? 'read' : 'lost', EventSource::XS->stats->{opened};
        my $told;
        $own->on_close(sub { $told = $_[1] });
        $own->close;
        wait_until(sub { EventSource::XS->dispatch; $told });
        syswrite $out, join ' ', @stats, $told;
    };
    is ended($child), '0 read 1 application', 'the counts of the child begin at zero';
    ok $stream->write("data: on\n\n") && $client->read_until(qr/data: on/), 'the stream of the parent receives events';
};

subtest 'on_close runs in a child that continues a stream, and in its parent' => sub {
    my ($stream, $client) = Testing::StreamPair->open(is_loop => 1);
    ok $client->read_head, 'the head is sent';
    my $told;
    $stream->on_close(sub { $told = $_[1] });
    my $child = child sub {
        my $out = shift;
        $client->leave;    # this process has that end too
        $stream->write("data: child\n\n");
        wait_until(sub { EventSource::XS->dispatch; $told });
        syswrite $out, $told;
    };
    ok $client->read_until(qr/data: child/), 'the event of the child arrives';
    $client->leave;
    is ended($child), 'client', 'on_close reports the reason client in the child';
    ok wait_until(sub { EventSource::XS->dispatch; $told }), 'on_close runs in the parent';
    is $told, 'client', 'on_close reports the reason client in the parent';
};

# A daemon closes all inherited descriptors, so their numbers are reused.
subtest 'a child that has reused the descriptor numbers writes nothing to them' => sub {
    my ($stream, $client) = Testing::StreamPair->open(%HANDLER);
    ok $client->read_head, 'the head is sent';
    my %act = (
        'pushes'  => sub { $stream->write("data: to whom?\n\n") ? 'taken' : 'not taken' },
        'lets go' => sub { undef $stream; 'not taken' },
    );
    for my $what (sort keys %act) {
        my $child = child sub {
            my $out = shift;
            socketpair my $other, my $end, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!";
            my @numbers = grep { $_ != fileno $out && $_ != fileno $end } 3 .. 40;
            POSIX::dup2(fileno $other, $_) for @numbers;
            syswrite $out, join ' ', $act{$what}->(), grep { !-e "/proc/self/fd/$_" } @numbers;
            _exit(0);
        };
        is ended($child), 'not taken', "a child that $what uses no other descriptor";
    }
    ok $stream->write("data: parent\n\n"),    'the parent may push to its stream';
    ok $client->read_until(qr/data: parent/), 'the client receives the event of the parent';
};

done_testing;
