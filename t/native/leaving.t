# A client that leaves is seen, whether or not something is pushed to it.

use strict;
use warnings;

use lib 't/lib';
use Testing::Deadline     qw(wait_until);
use Testing::Developer    qw(only_developers);
use Socket                qw(SHUT_WR);
use Testing::StreamServer qw(on_each_server);
use Test::More;

only_developers();

my $DEADLINE = 10;    # seconds; for what should happen at once

my %LEAVE = (
    'by FIN'              => sub { $_[0]->leave },
    'by RST'              => sub { $_[0]->leave(reset => 1) },
    'by half a close'     => sub { shutdown $_[0]{socket}, SHUT_WR },
    'with words, and FIN' => sub { $_[0]->say("GET /other HTTP/1.1\r\n\r\n")->leave },
);

sub leaves_idle {
    my ($server, $how) = @_;
    my $stays  = $server->stream(name => 'stays');
    my $client = $server->stream(name => 'leaves', keepalive => 0);
    is $server->stats->{held}{leaves}{native}, 1, 'the stream is native';
    my $before = $server->stats->{closed}{client};
    $LEAVE{$how}->($client);
    $server->ended_ok('leaves', 'client', 'on_close tells');
    is $server->stats->{closed}{client},           $before + 1, 'it is counted';
    is $server->push(name => 'stays', count => 1), 1,           'its neighbour is pushed to';
    ok $stays->read_until(qr/^data: 1\.1\.1\r\n\r\n/m), 'and gets it';
    $stays->leave;
    $server->rests_ok;
    return;
}

sub leaves_busy {
    my ($server, $how) = @_;
    my $client = $server->stream(name => 'busy');
    is $server->push(name => 'busy', count => 20), 20, 'it is pushed to';
    ok $client->read_until(qr/^id: 7\r\n/m), 'and reads';
    $LEAVE{$how}->($client);
    ok wait_until($DEADLINE, sub { !$server->push(name => 'busy', count => 1) }), 'soon a push returns false';
    $server->ended_ok('busy', 'client', 'on_close tells');
    $server->rests_ok;
    return;
}

on_each_server(
    sub {
        my $server = shift;
        for my $how (sort keys %LEAVE) {
            subtest "an idle stream is left $how" => sub { leaves_idle($server, $how) };
            subtest "a busy stream is left $how"  => sub { leaves_busy($server, $how) };
        }
        $server->serves_ok;
    }
);

done_testing;
