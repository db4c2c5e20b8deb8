package Testing::Contract::Basics;
use Testing;

# The behaviours that hold on every way to a server: directly, behind nginx, over a Unix socket, under TLS.
#
#   my @behaviours = Testing::Contract::Basics->behaviours;    # Testing::Contract says what a behaviour is

use Testing::Contract::Check
    qw(client_leaves end_reported_ok next_request_ok response_complete_ok response_ends_ok sends stream_kind_is text_is);
use Testing::Contract::Handler qw(buffering journal_matches pushing repeat report report_close tag);
use Testing::Process           qw(descriptors_of);
use List::Util                 qw(sum0);

# The descriptors that stay open after the first streams of two workers, which may have replaced others meanwhile: of their
# reactors, and /dev/null.
my $FIRST_STREAMS = 6;
my $STREAMS       = 200;    # streams in a row that may leave no descriptor open

# Bytes that no one asked for. They fit into the sockets' buffers, so a client can send them although the server does not
# read.
my $JUNK = "GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n" . "junk\n" x 10_000;

my $ONE_HUNDRED = join '', map { "data: event $_\r\n\r\n" } 1 .. 100;
my $ONE_BY_ONE  = join '', map { "data: event $_\r\n\r\n" } 0 .. 5;

my @BEHAVIOURS = (
    {
        name    => 'the head is sent before the first event',
        request => ['/silent'],
        needs   => ['client', 'head at once'],
        handler => sub {
            my ($conn, $env) = @_;
            repeat $env => sub {
                return 1 if !journal_matches(qr/\A\Q${\tag($env)}\E the head is here/);
                $conn->push('foo');
                $conn->close;
                return;
            };
        },
        check => sub {
            my ($client, $run) = @_;
            ok $client->read_head, 'the client receives the head while no event has been pushed';
            is $client->status, 200, 'the status is 200';
            $run->write_journal($client->{tag}, 'the head is here');
            response_ends_ok($client);
            is $client->text, "data: foo\r\n\r\n", 'the event follows the head';
        },
    },
    {
        name    => 'an event is sent before the next is pushed',
        request => ['/one-by-one'],
        needs   => ['client'],
        handler => sub {
            my ($conn, $env) = @_;
            my $count = 0;
            $conn->push('event 0');
            repeat $env => sub {
                return 1 if !journal_matches(qr/\A\Q${\tag($env)}\E event $count is here/);
                return $conn->push('event ' . ++$count) if $count < 5;
                $conn->close;
                return;
            };
        },
        check => sub {
            my ($client, $run) = @_;
            for my $number (0 .. 5) {
                ok $client->read_until(qr/^data: event $number\r\n\r\n/m), "the client receives event $number"
                    or return;
                $run->write_journal($client->{tag}, "event $number is here");
            }
            response_ends_ok($client);
            response_complete_ok($client);
            is $client->text, $ONE_BY_ONE, 'each event arrives once, in order';
        },
    },
    sends('one push is one event'                 => '/one',  [['foo']],                       "data: foo\r\n\r\n"),
    sends('a hundred pushes are a hundred events' => '/many', [map { ["event $_"] } 1 .. 100], $ONE_HUNDRED),
    {
        name    => 'an event of a megabyte arrives whole',
        request => ['/megabyte'],
        app     => sub { return buffering(pushing(['0123456789abcdef' x 65_536], ['after'])) },
        check   => sub {
            my $client = shift;
            response_ends_ok($client);
            my $expected = 'data: ' . '0123456789abcdef' x 65_536 . "\r\n\r\ndata: after\r\n\r\n";
            ok $client->text eq $expected, 'each byte of both events arrives' or diag length($client->text) . ' bytes';
        },
    },
    {
        # More than the sockets between server and client hold.
        name    => 'a client that reads late receives every event',
        request => ['/flood'],
        needs   => ['client'],
        app     => sub {
            return buffering sub {
                my ($conn, $env) = @_;
                for my $number (1 .. 384) {
                    $conn->push({id => $number, data => '0123456789abcdef' x 4_096}) or last;
                    report($env, "pushed $number") if $number == 384;
                }
                $conn->close;
                return;
            };
        },
        check => sub {
            my $client = shift;
            ok $client->read_until(qr/^id: 1\r\n/m), 'the first event arrives';
            response_ends_ok($client);
            is_deeply [$client->text =~ /^id: (\d+)\r$/mg], [1 .. 384], 'every event arrives once, in order';
            is length $client->text, 384 * (65_536 + length "data: \r\nid: \r\n\r\n") + 9 + 180 + 855,
                'each event arrives whole';
        },
    },
    sends('UTF-8 bytes are sent unchanged' => '/bytes', [["caf\xc3\xa9"]], "data: caf\xc3\xa9\r\n\r\n"),
    {
        name    => 'close ends the response and the connection',
        request => ['/close'],
        handler => sub {
            my ($conn, $env) = @_;
            report_close($conn, $env);
            my @results = ($conn->is_open, $conn->push('only'));
            $conn->close;
            $conn->close;
            push @results, $conn->is_open, $conn->push('never');
            report($env, 'results ' . join ' ', map { $_ ? 'true' : 'false' } @results);
        },
        check => sub {
            my ($client, $run) = @_;
            response_ends_ok($client);
            response_complete_ok($client);
            is $client->text, "data: only\r\n\r\n", 'an event that is pushed after close is not sent';
            $run->journal_ok($client, qr/^results true true false false$/m, 'is_open and push are false after close');
            end_reported_ok $client, $run,
                qr/^closed by application, open: 0$/m,
                'on_close reports the reason application';
            is scalar(() = $run->journal($client) =~ /^closed by/mg), 1, 'on_close is called once';
        },
    },
    {
        name    => 'a connection whose last reference is dropped ends',
        request => ['/dropped'],
        needs   => ['blocking'],
        handler => sub { report_close(@_); $_[0]->push('foo'); return },
        check   => \&ends_when_dropped,
    },
    {
        name    => 'last_event_id returns the decoded Last-Event-ID header',
        request => ['/last-id', headers => ['Last-Event-ID' => "caf\xc3\xa9 7"]],
        handler => sub {
            my $conn = shift;
            my $id   = $conn->last_event_id;
            $conn->push(defined $id ? ($id, length($id) . ' characters') : 'none');
            $conn->close;
        },
        check => text_is("data: caf\xc3\xa9 7\r\ndata: 6 characters\r\n\r\n"),
    },
    {
        name    => 'the stream is native where the server allows it',
        request => ['/kind/plain'],
        handler => \&push_kind,
        check   => stream_kind_is(),
    },
    {
        name    => 'a push to a client that has left returns false',
        request => ['/tick'],
        needs   => ['client'],
        handler => sub {
            my ($conn, $env) = @_;
            my $count = 0;
            report_close($conn, $env);
            repeat $env => sub {
                my $result = eval { $conn->push('tick ' . ++$count) ? 'true' : 'false' };
                $result = "died: $@" if !defined $result;
                return 1 if $result eq 'true';
                report($env, "push: $result");
                report($env, 'is_open: ' . ($conn->is_open ? 1 : 0) . ', push again: ' . ($conn->push('late') ? 1 : 0));
                return;
            };
        },
        check => client_leaves(),
    },
    {
        name    => 'a client that leaves is noticed without a push',
        request => ['/watch'],
        needs   => ['client'],
        handler => sub {
            my ($conn, $env) = @_;
            report_close($conn, $env);
            $conn->push('watching');
            repeat($env, sub { $conn->is_open });
        },
        check => \&idle_client_leaves,
    },
    {
        name    => 'a handler that dies ends its own response only',
        request => ['/dies'],
        needs   => ['client'],
        handler => sub { report_close(@_); $_[0]->push('foo'); die "on purpose\n" },
        check   => sub {
            my ($client, $run) = @_;
            response_ends_ok($client);
            like $client->text, qr/\Adata: foo\r\n\r\n/, 'the event that was pushed before arrives';
            end_reported_ok($client, $run, qr/^closed by error, open: 0$/m, 'on_close reports the reason error');
            next_request_ok($run);
        },
    },
    {
        name    => 'three streams are open at once',
        request => ['/together'],
        needs   => ['several'],
        handler => sub {
            my ($conn, $env) = @_;
            my $all = tag($env) =~ s/-.*//r;
            $conn->push('open');
            repeat $env => sub {
                return 1 if !journal_matches(qr/\A\Q$all\E all are open/);
                $conn->push('all');
                $conn->close;
                return;
            };
        },
        check => sub {
            my ($client, $run) = @_;
            my @clients = ($client, map { $run->get('/together', tag => "$client->{tag}-$_") } 1 .. 2);
            is scalar(grep { $_->read_until(qr/data: open/) } @clients), 3, 'all three streams begin';
            $run->write_journal($client->{tag}, 'all are open');
            is scalar(grep { $_->read_all && $_->text eq "data: open\r\n\r\ndata: all\r\n\r\n" } @clients), 3,
                'all three clients receive both events';
        },
    },
    {
        name    => 'a native stream is the last response of its connection, another stream is not',
        request => ['/one'],
        needs   => ['keep-alive'],
        check   => sub {
            my ($client, $run) = @_;
            response_ends_ok($client);
            is $client->header('Connection'), 'close', 'a native stream is sent with Connection: close'
                if $run->ends_connection;
            return is $client->rest, '', 'nothing follows on the connection'
                if $run->ends_connection || $client->{http} eq '1.0';

            # The first connection has perhaps been idle for longer than the server keeps one open.
            my $quick = $run->get('/one', tag => "$client->{tag}-first");
            response_ends_ok($quick);
            $quick->request("/one?tag=$client->{tag}-second");
            ok $quick->read_all, 'the second response on the connection ends';
            is $quick->text, "data: foo\r\n\r\n", 'the second response has the same event';
        },
    },
    {
        name    => 'a pipelined request does not disturb the stream before it',
        request => ['/many', then => "GET /plain HTTP/1.0\r\nHost: localhost\r\n\r\n"],
        needs   => [qw(client pipelining)],
        check   => sub {
            my ($client, $run) = @_;
            response_ends_ok($client);
            response_complete_ok($client);
            is $client->text, $ONE_HUNDRED, 'the stream has its own events only';
            my $rest = $client->rest;
            if ($run->ends_connection) { is $rest, '', 'nothing follows a native stream' }
            else {
                like $rest, qr{\A(?:HTTP/1[.][01] 200 .*\r\n\r\nplain)?\z}s,
                    'nothing but the other response may follow';
            }
            next_request_ok($run);
        },
    },
    {
        # The client's bytes are at most a separate request, to be answered later.
        name    => 'bytes that the client sends during a stream are ignored',
        request => ['/one-by-one'],
        needs   => ['client'],
        check   => sub {
            my ($client, $run) = @_;
            ok $client->read_until(qr/^data: event 0\r\n/m), 'the first event arrives';
            $client->say($JUNK);
            for my $number (0 .. 5) {
                $client->read_until(qr/^data: event $number\r\n\r\n/m)
                    or return fail "the client receives event $number";
                $run->write_journal($client->{tag}, "event $number is here");
            }
            response_ends_ok($client);
            response_complete_ok($client) if $run->ends_connection || $client->header('Transfer-Encoding');
            is $client->text, $ONE_BY_ONE, 'each event arrives once, in order';
            next_request_ok($run);
        },
    },
    {
        name    => "$STREAMS streams leave no descriptor open",
        request => ['/one'],
        needs   => ['process'],
        check   => sub {
            my ($client, $run) = @_;
            my $server = $run->{server};
            $client->leave;
            my $before = _settled_descriptors($server);
            for my $count (1 .. $STREAMS) {
                my $one = $run->get($count % 2 ? '/one' : '/tick');
                $one->read_until(qr/data: /) or return fail "stream $count begins";
                $one->leave(reset => $count % 4 == 0);
            }
            my $after;
            my $is_clean = wait_until(sub { ($after = _descriptors($server)) <= $before + $FIRST_STREAMS });
            ok $is_clean, "the server has no more descriptors after $STREAMS streams than before"
                or diag "$before descriptors before, $after after";
            next_request_ok($run);
        },
    },
);

sub behaviours { return @BEHAVIOURS }

# A check: the response to /dropped, whose handler has dropped its connection.
sub ends_when_dropped {
    my ($client, $run) = @_;
    response_ends_ok($client);
    response_complete_ok($client);
    is $client->text, "data: foo\r\n\r\n", 'the event that was pushed arrives';
    end_reported_ok($client, $run, qr/^closed by application, open: 0$/m, 'on_close reports the reason application');
    return;
}

# A check: the client leaves while its handler pushes nothing.
sub idle_client_leaves {
    my ($client, $run) = @_;
    ok $client->read_until(qr/data: watching/), 'the stream begins';
    $client->leave;
    end_reported_ok($client, $run, qr/^closed by client, open: 0$/m, 'on_close reports the reason client');
    next_request_ok($run);
    return;
}

# A handler that sends whether its stream is native or on the server's writer ($STREAM_KIND of Testing::Contract::Check).
sub push_kind {
    my $conn = shift;
    $conn->push($conn->can('is_native') && $conn->is_native ? 'native' : 'writer');
    $conn->push('and goes on');
    $conn->close;
    return;
}

sub _descriptors {
    return sum0(map { descriptors_of($_) } $_[0]->pids);
}

# Returns the number of a server's descriptors when it no longer changes.
sub _settled_descriptors {
    my $server = shift;
    my ($count, $same) = (-1, 0);
    wait_until sub {
        my $now = _descriptors($server);
        $same  = $now == $count ? $same + 1 : 0;
        $count = $now;
        return $same >= 10;
    };
    return $count;
}

1;
