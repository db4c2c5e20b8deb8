package Testing::Contract::Ends;
use Testing;

# The behaviours of a stream's end: dropped connections, clients that leave, handlers that end, children.
#
#   my @behaviours = Testing::Contract::Ends->behaviours;    # Testing::Contract says what a behaviour is

use Testing::Contract::Basics  ();
use Testing::Contract::Check   qw(client_leaves end_reported_ok next_request_ok response_complete_ok response_ends_ok);
use Testing::Contract::Handler qw($PAUSE repeat report report_close source);
use Plack::Builder;
use POSIX       ();
use Time::HiRes qw(sleep);

my @BEHAVIOURS = (
    {
        name    => 'a connection that is dropped after a program has run ends',
        request => ['/program'],
        needs   => ['blocking'],
        handler => sub { report_close(@_); $_[0]->push('foo'); system 'true'; return },

        # The program was started by a fork. A native stream leaves its end to the children, so it has no last chunk.
        check => sub {
            my ($client, $run) = @_;
            response_ends_ok($client);
            response_complete_ok($client) if !$run->is_native || $client->{http} eq '1.0';
            is $client->text, "data: foo\r\n\r\n", 'the event that was pushed arrives';
            end_reported_ok $client, $run,
                qr/^closed by application, open: 0$/m,
                'on_close reports the reason application';
        },
    },
    {
        name    => 'in an event loop a dropped connection stays open until its client leaves',
        request => ['/dropped'],
        needs   => ['loop'],
        check   => sub {
            my ($client, $run) = @_;
            ok $client->read_until(qr/data: foo/), 'the stream begins';
            next_request_ok($run);
            ok !$client->ended, 'the stream is open while another one begins and ends';
            is $run->journal($client), '', 'on_close is not called yet';
            $client->leave;
            end_reported_ok($client, $run, qr/^closed by client, open: 0$/m, 'on_close reports the reason client');
        },
    },
    {
        name    => 'a push to a client that has reset its connection returns false',
        request => ['/tick'],
        needs   => ['client'],
        check   => client_leaves(reset => 1),
    },
    {
        name    => 'a push to a client that has left after sending bytes returns false',
        request => ['/tick'],
        needs   => ['client'],
        check   => client_leaves(bytes => 'junk'),
    },
    {
        name    => 'in an event loop a client that leaves is noticed behind a filter of the body',
        request => ['/held'],
        needs   => ['client', 'loop'],
        app     => sub {
            return builder {
                enable 'SimpleContentFilter', filter => sub { };
                source(sub { report_close(@_); $_[0]->push('watching'); return })->to_app;
            };
        },
        check => \&Testing::Contract::Basics::idle_client_leaves,
    },
    {
        name    => "with on_gone => 'unwind' a push ends the handler of a client that has left",
        request => ['/unwound'],
        needs   => ['client', 'blocking'],
        app     => sub {
            my $handler = sub {
                my ($conn, $env) = @_;
                report_close($conn, $env);
                my $push_again = sub {
                    return 1 if $conn->push('tick');
                    report($env, 'push returned false');
                    return;
                };
                my $returned = eval { repeat($env, $push_again); 1 };
                report($env, 'handler ' . ($returned ? 'returned' : 'ended by ' . (ref $@ || $@)));
                die $@ if !$returned;
                return;
            };
            return source($handler, on_gone => 'unwind')->to_app;
        },
        check => sub {
            my ($client, $run) = @_;
            ok $client->read_until(qr/data: tick/), 'the stream begins';
            $client->leave;
            $run->journal_ok($client, qr/^handler ended by EventSource::Gone$/m, 'EventSource::Gone ends the handler');
            end_reported_ok($client, $run, qr/^closed by client/m, 'on_close reports the reason client');
            unlike $run->journal($client), qr/returned/, 'the handler does not return';
            next_request_ok($run);
        },
    },
    {
        name    => "in an event loop on_gone => 'unwind' has no effect",
        request => ['/unwound'],
        needs   => ['client', 'loop'],
        check   => sub {
            my ($client, $run) = @_;
            ok $client->read_until(qr/data: tick/), 'the stream begins';
            $client->leave;
            $run->journal_ok($client, qr/^handler returned$/m, 'the handler has returned');
            end_reported_ok($client, $run, qr/^closed by client/m, 'on_close reports the reason client');
            next_request_ok($run);
        },
    },
    {
        # The child pushes when the handler's process has left the handler.
        name    => 'a forked child continues the stream after the handler',
        request => ['/fork'],
        needs   => ['client', 'blocking'],
        handler => sub {
            my ($conn, $env) = @_;
            pipe my $returned, my $running or die "pipe: $!";
            defined(my $pid = fork) or die "fork: $!";
            if (!$pid) {
                close $running;
                readline $returned;
                for my $count (1 .. 5) {
                    $conn->push("child $count");
                    sleep $PAUSE;
                }
                $conn->close;
                POSIX::_exit(0);
            }
        },
        check => sub {
            my ($client, $run) = @_;
            response_ends_ok($client);
            is $client->text, join('', map { "data: child $_\r\n\r\n" } 1 .. 5), 'all events of the child arrive';
            response_complete_ok($client) if $client->{http} eq '1.0' || $client->header('Transfer-Encoding');
        },
    },
);

sub behaviours { return @BEHAVIOURS }

1;
