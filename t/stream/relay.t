# A stream on the server's writer that becomes a relay when it subscribes to a hub: callbacks, exceptions, and forks, before and
# after that, on a server that blocks and in an event loop that dispatch turns.

use lib 't/lib';
use Testing qw(native);
use EventSource::Hub;
use EventSource::XS;
use Plack::App::EventSource;
use Plack::App::EventSource::Connection;
use POSIX        ();
use Scalar::Util qw(weaken);
use Socket       qw(AF_UNIX PF_UNSPEC SOCK_STREAM);
use Testing::RecordingWriter;
use Testing::Subscriber qw(blocks);
use Time::HiRes         qw(ualarm);

my $TIME = 300_000;    # microseconds from the end of a handler until the hub ends what it has subscribed

my @warnings;
local $SIG{__WARN__} = sub { push @warnings, @_ };

my $hub = EventSource::Hub->new;

# True while handlers run as in an event loop.
my $in_loop = 0;

# Runs a handler as a server does that has the client's socket. Returns a hash of what came of it. Options: after, a function
# for the time after the handler, and that time; callbacks, false if the handler notes reasons itself; writer; and attributes of
# the application.
sub run {
    my ($handler, %attribute) = @_;
    my ($after,   $time)      = delete @attribute{qw(after time)};
    my $notes = delete $attribute{callbacks} // 1;
    socketpair my $client, my $server, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!";
    my $writer = delete $attribute{writer} || Testing::RecordingWriter->new;
    open my $log, '>', \my $text or die $!;
    my %got = (writer => $writer, client => $client, server => $server, reasons => [], log => \$text);
    my $app = Plack::App::EventSource->new(
        native     => 0,
        handler_cb => sub {
            my $conn = shift;
            $conn->on_close(sub { push @{$got{reasons}}, $_[1] }) if $notes;
            $handler->($conn, \%got);
            ualarm $time || $TIME;
        },
        %attribute
    )->to_app;
    my %env = (
        'REQUEST_METHOD'   => 'GET',
        'psgi.errors'      => $log,
        'psgi.nonblocking' => $in_loop,
        'psgi.streaming'   => 1,
        'psgi.url_scheme'  => 'http',
        'psgix.io'         => $server,
    );
    local $SIG{ALRM} = sub { $after && $after->(\%got) };
    $app->(\%env)->(sub { return $writer });
    ok wait_until(sub { EventSource::XS->dispatch; return $writer->times_closed }), 'the response has ended';
    ualarm 0;
    EventSource::XS->dispatch;
    return \%got;
}

# Waits until so many callbacks have run, and makes a test of it.
sub told_ok {
    my ($got, @reasons) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    wait_until(sub { EventSource::XS->dispatch; return @{$got->{reasons}} >= @reasons });
    EventSource::XS->dispatch;
    return is_deeply $got->{reasons}, \@reasons, 'the callbacks run once, in order, with what is known of the end';
}

sub data_of {
    return [map { $_->{data} } grep { length($_->{data} // '') } blocks($_[0]{writer}->kept)];
}

sub end_by_hub { return $hub->end(topics => 'a') }

# How a stream ends: the reason and the code.
my %ENDS = (
    'of a client that leaves'          => [client      => sub { close delete $_[0]{client} }],
    'of a stream that the hub ends'    => [application => \&end_by_hub],
    'of a stream that is closed later' => [application => sub { $_[0]{conn}->close }],
);

for my $mode ('on a server that blocks', 'in an event loop') {
    $in_loop = $mode =~ /loop/ ? 1 : 0;
    for my $what (sort keys %ENDS) {
        subtest "$mode: the callbacks $what" => sub {
            my ($reason, $end) = @{$ENDS{$what}};
            my $got = run sub {
                my ($conn, $got) = @_;
                weaken($got->{conn} = $conn);
                push @{$got->{held}}, $conn;
                my $note = sub {
                    my $name = shift;
                    return sub { push @{$got->{reasons}}, [$name, $_[1], $_[0] == $got->{conn}] };
                };
                $conn->on_close($note->('first'));
                $conn->push('pushed before');
                $conn->on_close(sub { push @{$got->{reasons}}, ['second']; die "on purpose\n" });
                $hub->subscribe($conn, 'a');
                $conn->on_close($note->('third'));
                $conn->push('pushed after');
                $hub->publish(a => 'published');
                is_deeply $got->{reasons}, [], 'no callback has run';
                },
                after     => $end,
                callbacks => 0;
            told_ok($got, ['first', $reason, !!1], ['second'], ['third', $reason, !!1]);
            is_deeply data_of($got), ['pushed before', 'pushed after', 'published'], 'all events have arrived in order';
            is $got->{writer}->times_closed, 1, 'the response has ended once';
            ok !$got->{conn}->is_open,      'the connection is not open';
            ok !$got->{conn}->push('late'), 'a push is not taken';
            is ${$got->{log}} // '', '', 'nothing is logged';
            is_deeply \@warnings, ["EventSource::XS: a callback died: on purpose\n"],
                'a callback that dies is a warning';
            @warnings = ();
        };
    }

    subtest "$mode: a connection that is released before" => sub {
        my $got = run sub {
            my ($conn, $got) = @_;
            $conn->{of_application} = 7;
            $conn->on_close(sub { push @{$got->{reasons}}, [ref $_[0], $_[0]{of_application}, $_[1]] });
            $hub->subscribe($conn, 'a');
            },
            after     => \&end_by_hub,
            callbacks => 0;
        told_ok($got, ['Plack::App::EventSource::Connection', 7, 'application']);
    };

    subtest "$mode: what the handler closes" => sub {
        my $got = run sub {
            my ($conn, $got) = @_;
            $hub->subscribe($conn, 'a');
            ok $conn->is_open,    'it is open';
            ok !$conn->is_native, 'and not native';
            $conn->push('last');
            $conn->close;
            ok !$conn->is_open, 'then it is not';
        };
        told_ok($got, 'application');
        is_deeply data_of($got), ['last'], 'what was pushed has arrived';
    };

    subtest "$mode: a handler that dies" => sub {
        my $got = run sub {
            my ($conn, $got) = @_;
            $hub->subscribe($conn, 'a');
            $conn->push($_) for qw(one two);
            die "on purpose\n";
        };
        told_ok($got, 'error');
        is_deeply data_of($got), ['one', 'two'], 'what it has pushed has arrived';
        like ${$got->{log}}, qr/the handler died: on purpose$/m, 'the log has the exception';
    };

    subtest "$mode: a writer that dies while its client is there" => sub {
        @warnings = ();
        my $got = run sub {
            my ($conn, $got) = @_;
            $conn->push('one');
            $hub->subscribe($conn, 'a');
            },
            writer => Testing::RecordingWriter->new(takes => 1, dies_of => "a filter\n"),
            after  => sub { $hub->publish(a => 'two') };
        told_ok($got, 'error');
        like $in_loop ? "@warnings" : ${$got->{log}}, qr/a filter$/m, 'the exception is reported';
        @warnings = ();
    };

    subtest "$mode: counts" => sub {
        my $before = EventSource::XS->stats;
        my $got    = run sub {
            my ($conn, $got) = @_;
            $hub->subscribe($conn, 'a');
            is(EventSource::XS->stats->{open} - $before->{open}, 1, 'a relay counts as one stream');
        }, after => \&end_by_hub;
        told_ok($got, 'application');
        my $stats = EventSource::XS->stats;
        is $stats->{opened} - $before->{opened}, 1,               'one was opened';
        is $stats->{open},                       $before->{open}, 'none is open';
        is(($stats->{closed}{application} || 0) - ($before->{closed}{application} || 0), 1, 'one has ended');
    };
}

$in_loop = 0;

subtest 'a handler that pushes more than max_buffered after it has subscribed' => sub {
    my ($taken, @later);
    my $got = run sub {
        my ($conn, $got) = @_;
        $hub->subscribe($conn, 'a');
        $taken = $conn->push('x' x 100_000);
        @later = map { $conn->push('x' x 100_000) } 1 .. 20;
    }, max_buffered => 1_000_000;
    ok $taken,      'what there is room for is taken';
    ok !$later[-1], 'what there is no room for is not';
    told_ok($got, 'slow');
};

subtest 'a write that subscribes and dies' => sub {

    package SubscribingWriter {
        our @ISA = 'Testing::RecordingWriter';

        sub write {
            my ($self, $bytes) = @_;
            my $conn = delete $self->{conn} or return $self->SUPER::write($bytes);
            $hub->subscribe($conn, 'a');
            die "write error\n";
        }
    }
    my ($taken, $error);
    my $got = run sub {
        my ($conn, $got) = @_;
        $got->{writer}{conn} = $conn;
        $taken               = eval { $conn->push('one') };
        $error               = $@;
    }, writer => SubscribingWriter->new;
    ok !$taken, 'the push is not taken';
    is $error, "write error\n", 'its exception is that of the writer';
    told_ok($got, 'error');
};

subtest 'a handler that goes on when a hub has refused its stream' => sub {
    my $is_served = 0;
    my $got       = run sub {
        my ($conn, $got) = @_;
        no warnings 'redefine';
        local *EventSource::Hub::_subscribe = sub { die "away\n" };
        ok !eval { $hub->subscribe($conn, 'a') }, 'it is not subscribed';
        ok $conn->push('come back later'),        'a push is taken';
        },
        after => sub { $is_served = 1; close delete $_[0]{client} },
        time  => 20 * $TIME;
    ok !$is_served, 'the worker does not serve it';
    told_ok($got, 'application');
    is_deeply data_of($got), ['come back later'], 'what was pushed has arrived';
};

subtest 'a client that reads nothing when the worker is to end' => sub {
    my $got = run sub {
        my ($conn, $got) = @_;
        $hub->subscribe($conn, 'a');
        $conn->push('one');
        $got->{server}->blocking(0);
        1 while syswrite $got->{server}, 'x' x 65_536;
        $conn->stream->end_with_retry;    # a handler that holds its worker is ended so
    }, timeout => 0.5;
    told_ok($got, 'timeout');
    is $got->{writer}->kept, '', 'and is sent nothing, for which a server might wait for ever';
};

subtest 'an id that was pushed before a hub has refused the stream' => sub {
    my $got = run sub {
        my ($conn, $got) = @_;
        $conn->push({id => 'own', data => 1});
        {
            no warnings 'redefine';
            local *EventSource::Hub::_subscribe = sub { die "away\n" };
            ok !eval { $hub->subscribe($conn, 'a') }, 'it is not subscribed';
        }
        $hub->subscribe($conn, 'a');
    }, after => \&end_by_hub;
    is_deeply [map { $_->{id} // () } blocks($got->{writer}->kept)], ['own'],
        'is not replaced when another one accepts it';
};

subtest 'a handler that pushes to a client that has left' => sub {
    my ($taken, $is_unwound);
    my $push = sub {
        my ($conn, $got) = @_;
        $hub->subscribe($conn, 'a');
        ok $conn->push('one'), 'a push is taken while the client is there';
        close delete $got->{client};
        $taken      = eval { $conn->push('two') };
        $is_unwound = ref $@ && $@->isa('EventSource::Gone');
        die $@ if $@;
    };
    my $got = run($push);
    is $taken, !!0, 'later it is not';
    told_ok($got, 'client');
    $got = run($push, on_gone => 'unwind');
    ok $is_unwound, 'with on_gone the push throws';
    is ${$got->{log}} // '', '', 'which nobody reports';
};

subtest 'a child that subscribes the stream of its parent' => sub {
    my $got = run sub {
        my ($conn, $got) = @_;
        my $named = EventSource::Hub->new(name => 'of_a_child', autostart => 0);
        my $child = fork // die "fork: $!";
        if (!$child) {
            my $is_subscribed = eval { $named->subscribe($conn, 'a') };
            POSIX::_exit($is_subscribed ? 1 : ref $@ && $@->code eq 'state' ? 0 : 2);
        }
        waitpid $child, 0;
        is $? >> 8, 0, 'is refused with the code state: nobody would serve it';
        $hub->subscribe($conn, 'a');
        $conn->push('of the parent');
    }, after => \&end_by_hub;
    is_deeply data_of($got), ['of the parent'], 'the parent can subscribe it';
};

subtest 'a child of a handler that has subscribed' => sub {
    my $got = run sub {
        my ($conn, $got) = @_;
        $conn->on_close(sub { push @{$got->{reasons}}, "$$ $_[1]" });
        $hub->subscribe($conn, 'a');
        my $child = fork // die "fork: $!";
        if (!$child) {
            my $taken = $conn->push('of the child');
            undef $conn;
            my $ran = EventSource::XS->dispatch;
            POSIX::_exit($taken ? 1 : $ran ? 2 : 0);
        }
        waitpid $child, 0;
        is $? >> 8, 0, 'the child can push nothing, and runs no callback';
        ok $conn->push('of the parent'), 'the parent can push';
        },
        after     => \&end_by_hub,
        callbacks => 0;
    told_ok($got, "$$ application");
    is_deeply data_of($got), ['of the parent'], 'what the parent has pushed has arrived';
};

is "@warnings", '', 'nothing else is a warning';

done_testing;
