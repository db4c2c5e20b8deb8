# A client that leaves ends its stream, whether or not events are pushed to it.

use lib 't/lib';
use Testing;
use Testing::Deadline     qw(wait_until);
use Socket                qw(SHUT_WR);
use Testing::StreamServer qw(on_each_server);

my $DEADLINE = 10;    # seconds; for what should happen at once

my %LEAVE = (
    'by FIN'              => sub { $_[0]->leave },
    'by RST'              => sub { $_[0]->leave(reset => 1) },
    'by half a close'     => sub { shutdown $_[0]{socket}, SHUT_WR },
    'with words, and FIN' => sub { $_[0]->say("GET /other HTTP/1.1\r\n\r\n")->leave },
);

sub idle_client_leaves {
    my ($server, $how) = @_;
    my $stays  = $server->stream(name => 'stays');
    my $client = $server->stream(name => 'leaves', keepalive => 0);
    is $server->stats->{held}{leaves}{native}, 1, 'the stream is native';
    my $before = $server->stats->{closed}{client};
    $LEAVE{$how}->($client);
    $server->ended_ok('leaves', 'client', 'on_close reports the reason client');
    is $server->stats->{closed}{client},           $before + 1, 'stats counts the end';
    is $server->push(name => 'stays', count => 1), 1,           'a push to the neighbour is accepted';
    ok $stays->read_until(qr/^data: 1\.1\.1\r\n\r\n/m), 'the neighbour receives the event';
    $stays->leave;
    $server->rests_ok;
    return;
}

sub busy_client_leaves {
    my ($server, $how) = @_;
    my $client = $server->stream(name => 'busy');
    is $server->push(name => 'busy', count => 20), 20, 'pushes are accepted';
    ok $client->read_until(qr/^id: 7\r\n/m), 'the client reads events';
    $LEAVE{$how}->($client);
    ok wait_until($DEADLINE, sub { !$server->push(name => 'busy', count => 1) }),
        'a push returns false when the client has left';
    $server->ended_ok('busy', 'client', 'on_close reports the reason client');
    $server->rests_ok;
    return;
}

on_each_server(
    sub {
        my $server = shift;
        for my $how (sort keys %LEAVE) {
            subtest "the client of an idle stream leaves $how" => sub { idle_client_leaves($server, $how) };
            subtest "the client of a busy stream leaves $how"  => sub { busy_client_leaves($server, $how) };
        }
        $server->serves_ok;
    }
);

done_testing;
