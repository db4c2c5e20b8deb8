# What becomes of native streams when their process forks: a child may go on with one, and harms none.

use strict;
use warnings;

use lib 't/lib';
use Testing::Deadline qw(wait_until);
use EventSource::XS;
use Test::More;
BEGIN { plan skip_all => 'there is no native writer on this system' if !EventSource::XS->can('_next_end') }
use Testing::StreamPair;
use POSIX   qw(_exit);
use Socket  qw(AF_UNIX PF_UNSPEC SOCK_STREAM);
use sigtrap qw(die untrapped HUP INT TERM);

my $DEADLINE = 10;                                                             # seconds; for what should happen at once
my %HANDLER  = (is_loop => 0, on_full => 'block', max_buffered => 1_048_576);

# Children that run, by pid: they end with the test.
my %running;
my $owner = $$;

END {
    if ($$ == $owner) { local $?; kill KILL => keys %running if %running }
}

# A child that does something, and ends. What it prints can be read.
sub child {
    my $code = shift;
    pipe my $from, my $to or die "pipe: $!";
    defined(my $pid = fork) or die "fork: $!";
    if (!$pid) {
        close $from;
        my $ended = eval { $code->($to); 1 };
        syswrite $to, "died: $@" if !$ended;
        exit !$ended;
    }
    close $to;
    $running{$pid} = 1;
    return {pid => $pid, from => $from};
}

sub ended {
    my $child = shift;
    my $text  = do { local $/; readline $child->{from} };
    waitpid $child->{pid}, 0;
    delete $running{$child->{pid}};
    return $? ? "status $?: $text" : $text;
}

# Something that a child waits for; it goes on when this end is closed.
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
    subtest "with on_full $on_full what a handler has pushed is before what its child pushes" => sub {
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
        pass 'twenty times';
    };
}

subtest 'a child that exits ends its part' => sub {
    my %exit = (
        'exit'                => sub { exit },
        'POSIX::_exit'        => sub { _exit(0) },
        'a push and exit'     => sub { $_[0]->write("data: child\n\n"); exit },
        'a push, and an exec' => sub {
            $_[0]->on_close(sub { });
            $_[0]->write("data: child\n\n");
            $_[0]->close;
            $_[0]->_wait_for_end(1_000 * $DEADLINE);
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
        ok $client->read_until(qr/data: parent\n\n/), "$how: it runs";
        ok !$client->ended,                           'the parent lets go of it, and it goes on';
        close $opens;
        ok $client->read_all, 'it ends with the child';
        is ended($child), '', 'which goes as it wants to';
        my $more = $how =~ /push/ ? "data: child\n\n" : '';
        is $client->text, "data: parent\n\n$more", 'and leaves what it has pushed';
    }
};

subtest 'a child closes what the parent still holds' => sub {
    my ($stream, $client) = Testing::StreamPair->open(%HANDLER);
    my $child = child(sub { $stream->close; $stream->settle });
    ok $client->read_all, 'it ends, without a push';
    is ended($child), '', 'the child too';
    $client->leave;
    ok wait_until($DEADLINE, sub { !$stream->is_open }), 'and the parent sees the client leave';
};

subtest 'a child of a child may go on too' => sub {
    my ($stream, $client) = Testing::StreamPair->open(%HANDLER);
    $stream->write("data: parent\n\n");
    my $child = child(
        sub {
            $stream->write("data: child\n\n");
            my $grandchild = child(sub { $stream->write("data: grandchild\n\n"); $stream->close; $stream->settle });
            undef $stream;
            my $said = ended($grandchild);
            die "$said\n" if $said ne '';
        }
    );
    undef $stream;
    ok $client->read_all, 'it ends';
    is $client->body, "data: parent\n\ndata: child\n\ndata: grandchild\n\n", 'each after the other';
    is ended($child), '',                                                    'and nobody died';
};

# More than sockets hold, so that some of it is on the way at the fork.
subtest 'a stream on which something is on its way stays with the parent' => sub {
    my ($stream, $client) =
        Testing::StreamPair->open(is_loop => 0, on_full => 'disconnect', max_buffered => 64 * 1_048_576);
    my @events = events('parent', 80_000);
    $stream->write($_) for @events;
    $stream->leave_handler;
    my ($waits, $opens) = gate();
    my $child = child(
        sub {
            my $out    = shift;
            my $before = sockets();
            my $taken  = $stream->write("data: child\n\n") ? 1 : 0;
            syswrite $out, join ' ', $taken, $stream->is_open ? 1 : 0, $before - sockets();
            pass_gate($waits, $opens);
        }
    );
    sysread $child->{from}, my $said, 100;
    is $said, '0 0 1', 'the child cannot write, knows so, and lets go of the connection';
    undef $stream;
    ok $client->read_all,                  'it ends, though the child lives';
    ok $client->body eq join('', @events), 'with all of the parent, and nothing else' or diag length $client->body;
    close $opens;
    is ended($child), '', 'the child ends';
};

subtest 'a stream that fails ends for its client, though a child lives' => sub {
    my %fail = (
        'a slow client'   => [{on_full => 'disconnect'},                 sub { 1 while $_[0]->write('x' x 65_536) }],
        'a timeout'       => [{timeout => 0.1, on_full => 'disconnect'}, sub { $_[0]->write('x' x (16 * 1_048_576)) }],
        'one that is odd' => [{}, sub { my $c = $_[1]; $c->say('x' x 65_536) for 1 .. 17 }],
    );
    for my $how (sort keys %fail) {
        my ($settings, $act)    = @{$fail{$how}};
        my ($stream,   $client) = Testing::StreamPair->open(%HANDLER, %$settings);
        ok $client->read_head, "$how: it runs";
        my ($waits, $opens) = gate();
        my $child = child(sub { pass_gate($waits, $opens) });
        $act->($stream, $client);
        ok wait_until($DEADLINE, sub { !$stream->is_open }), 'it has ended here';
        ok $client->read_all,                                'and for its client';
        close $opens;
        is ended($child), '', 'the child ends';
    }
};

subtest 'a child that holds streams of others ends none' => sub {
    my @pairs = map { [Testing::StreamPair->open(%HANDLER)] } 1 .. 5;
    is ended(child(sub { @pairs = (); exit })),  '',                               'a child that lets go of all';
    is ended(child(sub { exit })),               '',                               'a child that exits with all';
    is ended(child(sub { die "on purpose\n" })), "status 256: died: on purpose\n", 'a child that dies';
    for my $pair (@pairs) {
        ok $pair->[0]->write("data: on\n\n") && $pair->[1]->read_until(qr/data: on\n\n/), 'a stream goes on';
    }
};

subtest 'a child has its own streams and counts' => sub {
    my ($stream, $client) = Testing::StreamPair->open;
    my $child = child(
        sub {
            my $out   = shift;
            my @stats = EventSource::XS->stats->{opened};
            my ($own, $reader) = Testing::StreamPair->open;
            $own->write("data: own\n\n");
            push @stats, $reader->read_until(qr/data: own/) ? 'read' : 'lost', EventSource::XS->stats->{opened};
            my $told;
            $own->on_close(sub { $told = $_[1] });
            $own->close;
            wait_until($DEADLINE, sub { EventSource::XS->dispatch; $told });
            syswrite $out, join ' ', @stats, $told;
        }
    );
    is ended($child), '0 read 1 application', 'beginning at zero';
    ok $stream->write("data: on\n\n") && $client->read_until(qr/data: on/), 'the parent goes on';
};

subtest 'a child that goes on is told of its end, and so is the parent' => sub {
    my ($stream, $client) = Testing::StreamPair->open(is_loop => 1);
    ok $client->read_head, 'its head is out';
    my $told;
    $stream->on_close(sub { $told = $_[1] });
    my $child = child(
        sub {
            my $out = shift;
            $client->leave;    # this process has that end too
            $stream->write("data: child\n\n");
            wait_until($DEADLINE, sub { EventSource::XS->dispatch; $told });
            syswrite $out, $told;
        }
    );
    ok $client->read_until(qr/data: child/), 'it goes on';
    $client->leave;
    is ended($child), 'client', 'the child is told';
    ok wait_until($DEADLINE, sub { EventSource::XS->dispatch; $told }), 'the parent is told';
    is $told, 'client', 'the same';
};

# A daemon closes all that it has inherited; then the numbers are others'.
subtest 'a child whose descriptors are others by now does not harm them' => sub {
    my ($stream, $client) = Testing::StreamPair->open(%HANDLER);
    ok $client->read_head, 'its head is out';
    my %act = (
        'pushes'  => sub { $stream->write("data: to whom?\n\n") ? 'taken' : 'not taken' },
        'lets go' => sub { undef $stream; 'not taken' },
    );
    for my $what (sort keys %act) {
        my $child = child(
            sub {
                my $out = shift;
                socketpair my $other, my $end, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!";
                my @numbers = grep { $_ != fileno $out && $_ != fileno $end } 3 .. 40;
                POSIX::dup2(fileno $other, $_) for @numbers;
                syswrite $out, join ' ', $act{$what}->(), grep { !-e "/proc/self/fd/$_" } @numbers;
                _exit(0);
            }
        );
        is ended($child), 'not taken', "that $what";
    }
    ok $stream->write("data: parent\n\n"),    'the parent goes on';
    ok $client->read_until(qr/data: parent/), 'as if nothing had been';
};

done_testing;
